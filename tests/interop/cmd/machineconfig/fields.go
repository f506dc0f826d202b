package main

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"go.yaml.in/yaml/v4"
)

var (
	yamlWriter = reflect.TypeFor[yaml.Marshaler]()
	textWriter = reflect.TypeFor[encoding.TextMarshaler]()
	zeroTeller = reflect.TypeFor[yaml.IsZeroer]()
)

// fields tells the fields of all kinds of documents: their names, whether they are left out when empty, and their types.
func fields(asked request) (any, error) {
	seen := table{types: map[string]any{}}
	kinds := map[string]string{}

	for _, kind := range asked.Kinds {
		text := "kind: " + kind + "\napiVersion: v1alpha1\n"
		if kind == "v1alpha1" {
			text = "version: v1alpha1\ndebug: false\n"
		}

		loaded, err := configloader.NewFromBytes([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}

		kinds[kind] = seen.shape(reflect.TypeOf(loaded.Documents()[0]).Elem())
	}

	return map[string]any{"kinds": kinds, "types": seen.types}, nil
}

type table struct {
	types map[string]any
}

// shape names a type: a pointer by `*`, a list by `[]`, a map by `{}`, a struct by `@`, what writes itself by `~`.
func (seen table) shape(of reflect.Type) string {
	if of.Kind() == reflect.Pointer {
		return "*" + seen.shape(of.Elem())
	}

	name := strings.TrimPrefix(of.String(), "*")
	if writes(of) {
		seen.types["~"+name] = kindName(of)

		return "~" + name
	}

	switch of.Kind() { //nolint:exhaustive
	case reflect.Slice:
		return "[]" + seen.shape(of.Elem())
	case reflect.Map:
		return "{}" + seen.shape(of.Elem())
	case reflect.Struct:
		seen.describe("@"+name, of)

		return "@" + name
	default:
		return kindName(of)
	}
}

func kindName(of reflect.Type) string {
	if of.String() == "time.Duration" {
		return "duration"
	}

	return of.Kind().String()
}

func writes(of reflect.Type) bool {
	for _, one := range []reflect.Type{of, reflect.PointerTo(of)} {
		if one.Implements(yamlWriter) || one.Implements(textWriter) {
			return true
		}
	}

	return false
}

func (seen table) describe(name string, of reflect.Type) {
	if _, known := seen.types[name]; known {
		return
	}

	rows := [][]string{}
	seen.types[name] = rows

	for i := range of.NumField() {
		field := of.Field(i)
		tag := strings.Split(field.Tag.Get("yaml"), ",")

		if field.PkgPath != "" && !field.Anonymous || tag[0] == "-" {
			continue
		}

		if tag[0] == "" {
			tag[0] = strings.ToLower(field.Name)
		}

		row := []string{tag[0], seen.shape(field.Type)}

		for _, one := range tag[1:] {
			if one == "omitempty" || one == "inline" {
				row = append(row, one)
			}
		}

		if field.Type.Implements(zeroTeller) {
			row = append(row, "zero")
		}

		if field.Tag.Get("merge") != "" {
			row = append(row, "merge "+field.Tag.Get("merge"))
		}

		rows = append(rows, row)
	}

	seen.types[name] = rows
}
