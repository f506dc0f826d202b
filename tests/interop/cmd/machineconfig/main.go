// Makes, compares and cleans machine configurations with the official libraries, to judge ours.
//
// Reads JSON requests, one a line, and answers each with one JSON line: what was asked for, or the error's text.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/siderolabs/omni/client/pkg/machineconfig"
	"github.com/siderolabs/omni/client/pkg/omni/resources/omni"
	"github.com/siderolabs/omni/client/pkg/siderolink"
	talosconfig "github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/config/configdiff"
	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"github.com/siderolabs/talos/pkg/machinery/config/configpatcher"
	"github.com/siderolabs/talos/pkg/machinery/config/encoder"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
	"go.yaml.in/yaml/v4"
)

type request struct {
	Do           string   `json:"do"`
	Text         string   `json:"text"`
	Other        string   `json:"other"`
	Secrets      string   `json:"secrets"`
	Cluster      string   `json:"cluster"`
	Talos        string   `json:"talos"`
	Kubernetes   string   `json:"kubernetes"`
	Endpoint     string   `json:"endpoint"`
	Disk         string   `json:"disk"`
	Image        string   `json:"image"`
	URL          string   `json:"url"`
	Token        string   `json:"token"`
	Kinds        []string `json:"kinds"`
	ControlPlane bool     `json:"control_plane"`
	Events       int      `json:"events"`
	Logs         int      `json:"logs"`
}

var verbs = map[string]func(request) (any, error){
	"difference":  difference,
	"fields":      fields,
	"generate":    generate,
	"join":        join,
	"merge":       merge,
	"new secrets": newSecrets,
	"read":        read,
	"sanitize":    sanitize,
	"secrets":     bundle,
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)

	out := json.NewEncoder(os.Stdout)

	for lines.Scan() {
		var asked request

		answer := map[string]any{}

		err := json.Unmarshal(lines.Bytes(), &asked)
		if err == nil {
			answer["answer"], err = guarded(asked)
		}

		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}

		if err = out.Encode(answer); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// guarded makes an error of a panic: the libraries do not expect everything that a text can hold.
func guarded(asked request) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()

	return verbs[asked.Do](asked)
}

func plain(provider talosconfig.Provider) (any, error) {
	text, err := provider.EncodeBytes(encoder.WithComments(encoder.CommentsDisabled))
	if err != nil {
		return nil, err
	}

	return documents(text)
}

func documents(text []byte) (any, error) {
	out := []any{}

	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var one map[string]any

		if err := decoder.Decode(&one); err != nil {
			if errors.Is(err, io.EOF) {
				return out, nil
			}

			return nil, err
		}

		out = append(out, one)
	}
}

func generate(asked request) (any, error) {
	held := &secrets.Bundle{}
	if err := yaml.Unmarshal([]byte(asked.Secrets), held); err != nil {
		return nil, err
	}

	made, err := machineconfig.Generate(machineconfig.GenerateInput{
		Secrets:                  held,
		ClusterID:                asked.Cluster,
		InitialTalosVersion:      asked.Talos,
		InitialKubernetesVersion: asked.Kubernetes,
		SiderolinkEndpoint:       asked.Endpoint,
		InstallDisk:              asked.Disk,
		InstallImage:             asked.Image,
		IsControlPlane:           asked.ControlPlane,
	})
	if err != nil {
		return nil, err
	}

	return plain(made.Config)
}

func read(asked request) (any, error) {
	loaded, err := configloader.NewFromBytes([]byte(asked.Text))
	if err != nil {
		return nil, err
	}

	return plain(loaded)
}

func difference(asked request) (any, error) {
	original, err := configloader.NewFromBytes([]byte(asked.Text))
	if err != nil {
		return nil, err
	}

	modified, err := configloader.NewFromBytes([]byte(asked.Other))
	if err != nil {
		return nil, err
	}

	patches, err := configdiff.Patch(original, modified)
	if err != nil {
		return nil, err
	}

	out := []any{}

	for _, patch := range patches {
		text, err := patch.(configpatcher.StrategicMergePatch).Provider().Bytes()
		if err != nil {
			return nil, err
		}

		one, err := documents(text)
		if err != nil {
			return nil, err
		}

		out = append(out, one)
	}

	return out, nil
}

func sanitize(asked request) (any, error) {
	text, err := omni.SanitizeConfigPatch([]byte(asked.Text))
	if err != nil {
		return nil, err
	}

	return string(text), nil
}

func bundle(asked request) (any, error) {
	loaded, err := configloader.NewFromBytes([]byte(asked.Text))
	if err != nil {
		return nil, err
	}

	held, err := secrets.NewBundleFromConfig(secrets.NewFixedClock(time.Now()), loaded)
	if err != nil {
		return nil, err
	}

	text, err := yaml.Marshal(held)

	return string(text), err
}

func newSecrets(asked request) (any, error) {
	contract, err := talosconfig.ParseContractFromVersion(asked.Talos)
	if err != nil {
		return nil, err
	}

	held, err := secrets.NewBundle(secrets.NewFixedClock(time.Now()), contract)
	if err != nil {
		return nil, err
	}

	text, err := yaml.Marshal(held)

	return string(text), err
}

func join(asked request) (any, error) {
	options, err := siderolink.NewJoinOptions(
		siderolink.WithJoinToken(asked.Token),
		siderolink.WithMachineAPIURL(asked.URL),
		siderolink.WithEventSinkPort(asked.Events),
		siderolink.WithLogServerPort(asked.Logs),
	)
	if err != nil {
		return nil, err
	}

	text, err := options.RenderJoinConfig()
	if err != nil {
		return nil, err
	}

	return documents(text)
}

func merge(asked request) (any, error) {
	loaded, err := configloader.NewFromBytes([]byte(asked.Text))
	if err != nil {
		return nil, err
	}

	patch, err := configpatcher.LoadPatch([]byte(asked.Other))
	if err != nil {
		return nil, err
	}

	merged, err := configpatcher.Apply(configpatcher.WithConfig(loaded), []configpatcher.Patch{patch})
	if err != nil {
		return nil, err
	}

	text, err := merged.Bytes()
	if err != nil {
		return nil, err
	}

	return documents(text)
}
