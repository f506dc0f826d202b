// Package conformance runs the COSI runtime's own suite for states against the server that OMNI_ENDPOINT names.
package conformance

import (
	"os"
	"testing"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"
	"github.com/cosi-project/runtime/pkg/state/conformance"
	"github.com/siderolabs/omni/client/pkg/client"
	"github.com/stretchr/testify/require"
	"github.com/stretchr/testify/suite"
)

// TestState signs every request with the key in OMNI_SERVICE_ACCOUNT_KEY, as any user of the official client does.
func TestState(t *testing.T) {
	endpoint, key := os.Getenv("OMNI_ENDPOINT"), os.Getenv("OMNI_SERVICE_ACCOUNT_KEY")
	if endpoint == "" || key == "" {
		t.Fatal("OMNI_ENDPOINT and OMNI_SERVICE_ACCOUNT_KEY name the server to judge")
	}

	require.NoError(t, protobuf.RegisterResource(conformance.PathResourceType, &conformance.PathResource{}))

	omni, err := client.New(endpoint, client.WithServiceAccount(key))
	require.NoError(t, err)

	t.Cleanup(func() { require.NoError(t, omni.Close()) })

	suite.Run(t, &conformance.StateSuite{
		State:      omni.Omni().State(),
		Namespaces: []resource.Namespace{"default", "controller", "system", "runtime"},
	})
}
