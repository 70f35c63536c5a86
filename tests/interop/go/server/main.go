// Serves grpc-go's own interop service, with its gzip registered, which its interop server leaves out.
package main

import (
	"flag"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
)

func main() {
	certificate := flag.String("tls_cert_file", "", "serve with TLS")
	key := flag.String("tls_key_file", "", "the key of tls_cert_file")
	address := flag.String("address", "127.0.0.1:0", "listen here")
	maxBytes := flag.Int("max_message_bytes", 4<<20, "the limit of received messages")
	flag.Parse()

	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(*maxBytes)}
	if *certificate != "" {
		tls, err := credentials.NewServerTLSFromFile(*certificate, *key)
		if err != nil {
			log.Fatal(err)
		}
		options = append(options, grpc.Creds(tls))
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(options...)
	grpc_testing.RegisterTestServiceServer(server, interop.NewTestServer())
	log.Fatal(server.Serve(listener))
}
