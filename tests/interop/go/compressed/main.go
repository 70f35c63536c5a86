// Runs the interop cases for compression that grpc-go's own interop client lacks, with grpc-go's gzip.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

const (
	largeRequest  = 271828
	largeResponse = 314159

	// Ends only a case that has failed.
	timeout = 30 * time.Second
)

// arrivals records for each response whether it was compressed, which grpc-go reports only here.
type arrivals struct{ compressed []bool }

func (a *arrivals) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (a *arrivals) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (a *arrivals) HandleConn(context.Context, stats.ConnStats)                       {}
func (a *arrivals) HandleRPC(_ context.Context, event stats.RPCStats) {
	if payload, ok := event.(*stats.InPayload); ok {
		a.compressed = append(a.compressed, payload.CompressedLength < payload.Length)
	}
}

func clientCompressedUnary(ctx context.Context, client grpc_testing.TestServiceClient, _ *arrivals) error {
	if _, err := client.UnaryCall(ctx, request(true)); status.Code(err) != codes.InvalidArgument {
		return fmt.Errorf("the probe ended with %v", err)
	}
	if _, err := client.UnaryCall(ctx, request(true), grpc.UseCompressor(gzip.Name)); err != nil {
		return err
	}
	_, err := client.UnaryCall(ctx, request(false))
	return err
}

func serverCompressedUnary(ctx context.Context, client grpc_testing.TestServiceClient, seen *arrivals) error {
	for _, compressed := range []bool{true, false} {
		wanted := request(false)
		wanted.ResponseCompressed = &grpc_testing.BoolValue{Value: compressed}
		response, err := client.UnaryCall(ctx, wanted)
		if err != nil {
			return err
		}
		if size := len(response.GetPayload().GetBody()); size != largeResponse {
			return fmt.Errorf("%d bytes", size)
		}
	}
	return seen.expect(true, false)
}

func serverCompressedStreaming(ctx context.Context, client grpc_testing.TestServiceClient, seen *arrivals) error {
	sizes := []int{31415, 92653}
	wanted := &grpc_testing.StreamingOutputCallRequest{}
	for index, size := range sizes {
		wanted.ResponseParameters = append(wanted.ResponseParameters, &grpc_testing.ResponseParameters{
			Size: int32(size), Compressed: &grpc_testing.BoolValue{Value: index == 0},
		})
	}
	stream, err := client.StreamingOutputCall(ctx, wanted)
	if err != nil {
		return err
	}
	for _, size := range sizes {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		if found := len(response.GetPayload().GetBody()); found != size {
			return fmt.Errorf("%d bytes instead of %d", found, size)
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("the stream ended with %v", err)
	}
	return seen.expect(true, false)
}

func (a *arrivals) expect(compressed ...bool) error {
	if fmt.Sprint(a.compressed) != fmt.Sprint(compressed) {
		return fmt.Errorf("compressed: %v instead of %v", a.compressed, compressed)
	}
	return nil
}

func request(expectCompressed bool) *grpc_testing.SimpleRequest {
	return &grpc_testing.SimpleRequest{
		Payload:          interop.ClientNewPayload(grpc_testing.PayloadType_COMPRESSABLE, largeRequest),
		ResponseSize:     largeResponse,
		ExpectCompressed: &grpc_testing.BoolValue{Value: expectCompressed},
	}
}

func main() {
	port := flag.Int("server_port", 0, "where the server is, on 127.0.0.1")
	name := flag.String("test_case", "", "client_compressed_unary, server_compressed_unary or server_compressed_streaming")
	authority := flag.String("ca_file", "", "use TLS, and trust this")
	flag.Parse()

	run := map[string]func(context.Context, grpc_testing.TestServiceClient, *arrivals) error{
		"client_compressed_unary":     clientCompressedUnary,
		"server_compressed_unary":     serverCompressedUnary,
		"server_compressed_streaming": serverCompressedStreaming,
	}[*name]
	if run == nil {
		log.Fatalf("Unsupported test case: %s: grpc-go compresses all messages of a stream, or none", *name)
	}
	security := insecure.NewCredentials()
	if *authority != "" {
		var err error
		if security, err = credentials.NewClientTLSFromFile(*authority, ""); err != nil {
			log.Fatal(err)
		}
	}
	seen := &arrivals{}
	address := fmt.Sprintf("127.0.0.1:%d", *port)
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(security), grpc.WithStatsHandler(seen))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := run(ctx, grpc_testing.NewTestServiceClient(connection), seen); err != nil {
		log.Fatal(err)
	}
}
