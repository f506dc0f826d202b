// Calls Talos through the server that OMNI_ENDPOINT names, with the client that the official library gives for it.
//
// Arguments are a cluster and its machines. Each call prints one JSON line: its name, what it brought, and what each
// machine's failure was.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	cosi "github.com/cosi-project/runtime/pkg/state/protobuf/client"
	"github.com/siderolabs/omni/client/pkg/client"
	"github.com/siderolabs/talos/pkg/machinery/api/common"
	"github.com/siderolabs/talos/pkg/machinery/api/machine"
	talosclient "github.com/siderolabs/talos/pkg/machinery/client"
	"github.com/siderolabs/talos/pkg/machinery/resources/cluster"
	"google.golang.org/protobuf/types/known/emptypb"
)

type line struct {
	Name     string         `json:"name"`
	Brought  map[string]any `json:"brought"`
	Failures []string       `json:"failures,omitempty"`
}

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(name string, nodes []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	connection, err := client.New(os.Getenv("OMNI_ENDPOINT"), client.WithServiceAccount(os.Getenv("OMNI_SERVICE_ACCOUNT_KEY")))
	if err != nil {
		return err
	}

	defer connection.Close() //nolint:errcheck

	talos := connection.Talos().WithCluster(name).WithNodes(nodes...)
	out := json.NewEncoder(os.Stdout)

	version, err := talos.Version(ctx, &emptypb.Empty{})
	version, err = talosclient.FilterMessages(version, err)

	told := line{Name: "version", Brought: map[string]any{}, Failures: failures(err)}
	if version != nil {
		for _, one := range version.Messages {
			told.Brought[one.GetMetadata().GetHostname()] = one.GetVersion().GetTag()
		}
	}

	if err = out.Encode(told); err != nil {
		return err
	}

	services, err := talos.ServiceList(ctx, &emptypb.Empty{})
	if err != nil {
		return err
	}

	told = line{Name: "services", Brought: map[string]any{}}

	for _, one := range services.Messages {
		ids := []string{}

		for _, service := range one.GetServices() {
			ids = append(ids, service.GetId())
		}

		told.Brought[one.GetMetadata().GetHostname()] = ids
	}

	if err = out.Encode(told); err != nil {
		return err
	}

	stream, err := talos.Logs(ctx, &machine.LogsRequest{
		Namespace: "system", Id: "kubelet", Driver: common.ContainerDriver_CONTAINERD, TailLines: -1,
	})
	if err != nil {
		return err
	}

	told = line{Name: "logs", Brought: map[string]any{}}

	for {
		data, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}

		if err != nil {
			return err
		}

		told.Brought[data.GetMetadata().GetHostname()] = len(data.GetBytes()) > 0
	}

	if err = out.Encode(told); err != nil {
		return err
	}

	members, err := list(ctx, connection, name)
	if err != nil {
		return err
	}

	return out.Encode(line{Name: "members", Brought: members})
}

// list reads typed resources of Talos, which decodes what the machine sends.
func list(ctx context.Context, connection *client.Client, name string) (map[string]any, error) {
	talos := connection.Talos().WithCluster(name).WithNodes()
	members := state.WrapCore(cosi.NewAdapter(v1alpha1.NewStateClient(talos)))

	found, err := safe.StateListAll[*cluster.Member](ctx, members)
	if err != nil {
		return nil, err
	}

	brought := map[string]any{}

	for one := range found.All() {
		brought[one.Metadata().ID()] = one.TypedSpec().MachineType.String() + " " + one.TypedSpec().Addresses[0].String()
	}

	return brought, nil
}

// failures tells which machines failed while others did not.
func failures(err error) []string {
	if err == nil {
		return nil
	}

	return []string{err.Error()}
}
