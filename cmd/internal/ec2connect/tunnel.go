package ec2connect

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/eice"
)

const (
	connectService = "ec2-instance-connect"
	emptySHA256    = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	// expires is for how long a tunnel's URL can be used; it is used at once.
	expires = time.Minute
)

// TunnelLife is what is asked for: others report that the service refuses its own maximum.
const TunnelLife = eice.Longest - time.Second

// Tunnel leads to an address through an endpoint, whose DNS name is given. cfg is that of the endpoint's account and region.
func Tunnel(cfg aws.Config, endpoint, dns, address string) (*transport.Tunnel, error) {
	scheme := "wss"
	if strings.HasPrefix(aws.ToString(cfg.BaseEndpoint), "http://") {
		scheme = "ws" // an emulator
	}
	if u, err := url.Parse(scheme + "://" + dns); err != nil || u.Host != dns || dns == "" {
		return nil, fmt.Errorf("endpoint %s has the DNS name %q", endpoint, dns)
	}
	e := &eice.Endpoint{Name: endpoint, Client: httpClient(cfg), Longest: TunnelLife}
	e.Sign = func(ctx context.Context, port int) (string, error) {
		q := url.Values{
			"instanceConnectEndpointId": {endpoint}, "remotePort": {strconv.Itoa(port)}, "privateIpAddress": {address},
			"maxTunnelDuration": {strconv.Itoa(int(TunnelLife / time.Second))}, "X-Amz-Expires": {strconv.Itoa(int(expires / time.Second))},
		}
		credentials, err := cfg.Credentials.Retrieve(ctx)
		if err != nil {
			return "", fmt.Errorf("sign the tunnel: %w", err)
		}
		req := &http.Request{Method: http.MethodGet, Host: dns, Header: http.Header{}, URL: &url.URL{Scheme: scheme, Host: dns, Path: "/openTunnel", RawQuery: q.Encode()}}
		signed, _, err := v4.NewSigner().PresignHTTP(ctx, credentials, req, emptySHA256, connectService, cfg.Region, time.Now())
		if err != nil {
			return "", fmt.Errorf("sign the tunnel: %w", err)
		}
		return signed, nil
	}
	return e.Tunnel(fmt.Sprintf("tunnel through %s to %s", endpoint, address)), nil
}
