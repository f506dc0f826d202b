// The official command line, as its library gives it, to be compared with ours.
package main

import (
	"context"
	"os"

	"github.com/siderolabs/omni/client/pkg/omnictl"
	"github.com/siderolabs/omni/client/pkg/version"
)

func main() {
	version.Tag, version.API = "v1.9.3", 2
	omnictl.RootCmd.Version = version.String()

	if err := omnictl.RootCmd.ExecuteContext(context.Background()); err != nil {
		os.Exit(1)
	}
}
