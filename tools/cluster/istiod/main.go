// Command gateway-config asks istiod, as the proxy of a gateway does, for its listeners, routes and clusters, and prints them
// as JSON. With -bootstrap it prints the configuration of an Envoy in the same form: without defaults, in one order.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	// The types of every extension that Envoy knows, of Istio's own, and those in which istiod wraps others.
	_ "github.com/cncf/xds/go/udpa/type/v1"
	_ "github.com/cncf/xds/go/xds/type/v3"
	_ "istio.io/api/envoy/extensions/stats"
	_ "istio.io/istio/pkg/config/xds"
)

const (
	prefix    = "type.googleapis.com/envoy.config."
	clusters  = prefix + "cluster.v3.Cluster"
	listeners = prefix + "listener.v3.Listener"
	routes    = prefix + "route.v3.RouteConfiguration"
)

func main() {
	address := flag.String("address", "127.0.0.1:15010", "address of istiod")
	node := flag.String("node", "", "id of the proxy: router~IP~NAME.NAMESPACE~DOMAIN")
	metadata := flag.String("metadata", "{}", "its metadata as JSON")
	bootstrap := flag.String("bootstrap", "", "a file with Envoy's bootstrap as JSON, to print instead")
	flag.Parse()
	if *bootstrap != "" {
		if err := normalise(*bootstrap); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := run(*address, *node, *metadata); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address, node, metadata string) error {
	meta := &structpb.Struct{}
	if err := protojson.Unmarshal([]byte(metadata), meta); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<28)))
	if err != nil {
		return err
	}
	defer connection.Close()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).StreamAggregatedResources(ctx)
	if err != nil {
		return err
	}
	asker := &proxy{stream: stream, node: &core.Node{Id: node, Metadata: meta}}
	found := map[string][]json.RawMessage{}
	for _, kind := range []string{clusters, listeners} {
		answer, err := asker.ask(kind, nil)
		if err != nil {
			return err
		}
		if found[kind], err = texts(answer.Resources); err != nil {
			return err
		}
		if kind == listeners {
			names, err := routeNames(answer.Resources)
			if err != nil {
				return err
			}
			if len(names) > 0 {
				if answer, err = asker.ask(routes, names); err != nil {
					return err
				}
				if found[routes], err = texts(answer.Resources); err != nil {
					return err
				}
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string][]json.RawMessage{
		"clusters": found[clusters], "listeners": found[listeners], "routes": found[routes],
	})
}

func normalise(path string) error {
	given, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	found := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(given, found); err != nil {
		return err
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(found)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}

type proxy struct {
	stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node   *core.Node
}

// ask subscribes to a kind of resources, returns the first answer and acknowledges it.
func (p *proxy) ask(kind string, names []string) (*discovery.DiscoveryResponse, error) {
	request := &discovery.DiscoveryRequest{Node: p.node, TypeUrl: kind, ResourceNames: names}
	if err := p.stream.Send(request); err != nil {
		return nil, err
	}
	for {
		answer, err := p.stream.Recv()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		request := &discovery.DiscoveryRequest{
			TypeUrl: answer.TypeUrl, ResourceNames: names, VersionInfo: answer.VersionInfo, ResponseNonce: answer.Nonce,
		}
		if answer.TypeUrl == kind {
			return answer, p.stream.Send(request)
		}
	}
}

func texts(resources []*anypb.Any) ([]json.RawMessage, error) {
	found := make([]json.RawMessage, 0, len(resources))
	for _, resource := range resources {
		message, err := resource.UnmarshalNew()
		if err != nil {
			return nil, err
		}
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
		if err != nil {
			return nil, err
		}
		found = append(found, text)
	}
	return found, nil
}

// routeNames are those of the route configurations that the listeners fetch.
func routeNames(resources []*anypb.Any) ([]string, error) {
	var names []string
	for _, resource := range resources {
		found := &listener.Listener{}
		if err := resource.UnmarshalTo(found); err != nil {
			return nil, err
		}
		for _, chain := range found.FilterChains {
			for _, filter := range chain.Filters {
				manager := &hcm.HttpConnectionManager{}
				if config := filter.GetTypedConfig(); config == nil || config.UnmarshalTo(manager) != nil {
					continue
				}
				if name := manager.GetRds().GetRouteConfigName(); name != "" {
					names = append(names, name)
				}
			}
		}
	}
	return names, nil
}
