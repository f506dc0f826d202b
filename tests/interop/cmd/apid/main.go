// Apid answers Version as Talos' API does: over TLS with Ed25519 certificates on both sides, which Go's own library judges.
//
// Its argument is a folder with ca.crt, server.crt and server.key. It prints its address and serves until it is killed.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/siderolabs/talos/pkg/machinery/api/machine"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/emptypb"
)

type server struct {
	machine.UnimplementedMachineServiceServer
}

func (server) Version(context.Context, *emptypb.Empty) (*machine.VersionResponse, error) {
	version := &machine.Version{Version: &machine.VersionInfo{Tag: "v1.13.5"}}

	return &machine.VersionResponse{Messages: []*machine.Version{version}}, nil
}

func run(folder string) error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "server.crt"), filepath.Join(folder, "server.key"))
	if err != nil {
		return err
	}

	authority, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil {
		return err
	}

	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(authority)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}

	fmt.Println(listener.Addr())

	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
		MinVersion:   tls.VersionTLS13,
	}
	served := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	machine.RegisterMachineServiceServer(served, server{})

	return served.Serve(listener)
}

func main() {
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}
