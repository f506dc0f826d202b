package main

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"go.yaml.in/yaml/v4"
)

type merger interface {
	Merge(any) error
}

var (
	yamlWriter = reflect.TypeFor[yaml.Marshaler]()
	textWriter = reflect.TypeFor[encoding.TextMarshaler]()
	mergerType = reflect.TypeFor[merger]()
)

// fields tells what the documents of the given kinds are made of.
//
// Of each type it has the fields in their order: name, shape, and whether the field is left out when it is empty, and how
// it is merged. Of a type that writes itself it has what its zero value is written as.
func fields(asked request) (any, error) {
	seen := table{structs: map[string][][]string{}, texts: map[string]any{}}
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

	return map[string]any{"kinds": kinds, "structs": seen.structs, "texts": seen.texts}, nil
}

type table struct {
	structs map[string][][]string
	texts   map[string]any
}

// shape names a type: a pointer by `*`, a list by `[]`, a map by `{}`, a struct by `@`, what writes itself by `~`.
func (seen table) shape(of reflect.Type) string {
	if of.Kind() == reflect.Pointer {
		return "*" + seen.shape(of.Elem())
	}

	if writes(of) {
		seen.texts["~"+of.String()] = zero(of)

		return "~" + of.String()
	}

	switch of.Kind() { //nolint:exhaustive
	case reflect.Slice:
		return "[]" + seen.shape(of.Elem())
	case reflect.Map:
		return "{}" + seen.shape(of.Elem())
	case reflect.Struct:
		name := "@" + of.String()
		if _, known := seen.structs[name]; !known {
			seen.structs[name] = nil
			seen.structs[name] = seen.rows(of)
		}

		return name
	case reflect.Bool, reflect.String, reflect.Interface:
		return of.Kind().String()
	default:
		if of.String() == "time.Duration" {
			return "duration"
		}

		return "int"
	}
}

func writes(of reflect.Type) bool {
	for _, one := range []reflect.Type{of, reflect.PointerTo(of)} {
		if one.Implements(yamlWriter) || one.Implements(textWriter) {
			return true
		}
	}

	return false
}

// zero is what a type's zero value is written as, nil also where it cannot be written.
func zero(of reflect.Type) (value any) {
	defer func() { recover() }() //nolint:errcheck

	text, err := yaml.Marshal(reflect.New(of).Interface())
	if err != nil {
		return nil
	}

	yaml.Unmarshal(text, &value) //nolint:errcheck

	return value
}

func (seen table) rows(of reflect.Type) [][]string {
	found := [][]string{}

	for i := range of.NumField() {
		field := of.Field(i)
		tag := strings.Split(field.Tag.Get("yaml"), ",")

		if !field.IsExported() || tag[0] == "-" {
			continue
		}

		if tag[0] == "" {
			tag[0] = strings.ToLower(field.Name)
		}

		row := []string{tag[0], seen.shape(field.Type)}
		inline := false

		for _, one := range tag[1:] {
			switch one {
			case "inline":
				inline = true
			case "omitempty":
				row = append(row, "omit")
			}
		}

		if inline && field.Type.Kind() == reflect.Struct {
			found = append(found, seen.rows(field.Type)...)

			continue
		}

		if inline {
			// Everything that is not a field of its own.
			row[0] = "*"
		}

		if field.Tag.Get("merge") == "replace" {
			row = append(row, "replace")
		}

		if reflect.PointerTo(field.Type).Implements(mergerType) {
			row = append(row, "merger")
		}

		found = append(found, row)
	}

	return found
}
