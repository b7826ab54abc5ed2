package awsfake

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// PushedLife is how long a key that was pushed is valid.
const PushedLife = time.Minute

// A PushedKey is a public key that EC2 Instance Connect holds for a login on an instance.
type PushedKey struct {
	Instance, User, Zone string
	Key                  ssh.PublicKey
	At                   time.Time // virtual
}

// connectService is EC2 Instance Connect. Its tunnels are not calls of an API: see serveTunnel.
func connectService() *service {
	return &service{prefix: "ec2-instance-connect", proto: targetJSON, ops: map[string]operation{"SendSSHPublicKey": {do: sendSSHPublicKey, on: pushedTo}}}
}

type pushRequest struct{ InstanceId, InstanceOSUser, SSHPublicKey, AvailabilityZone string }

func pushedTo(r *Request) []string {
	var in pushRequest
	json.Unmarshal(r.Body, &in) //nolint:errcheck // the operation says so
	return []string{r.Region.arn("instance", in.InstanceId)}
}

func sendSSHPublicKey(r *Request) (any, error) {
	var in pushRequest
	if err := json.Unmarshal(r.Body, &in); err != nil {
		return nil, fail("SerializationException", "%v", err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(in.SSHPublicKey))
	i := r.Region.Instances[in.InstanceId]
	switch {
	case err != nil || !slices.Contains([]string{ssh.KeyAlgoED25519, ssh.KeyAlgoRSA}, key.Type()):
		return nil, fail("InvalidArgsException", "Invalid SSH public key")
	case in.InstanceOSUser == "" || len(in.InstanceOSUser) > 32:
		return nil, fail("InvalidArgsException", "Invalid OS user")
	case i == nil || i.State == "terminated":
		return nil, fail("EC2InstanceNotFoundException", "Instance not found")
	case i.State != "running":
		return nil, fail("EC2InstanceStateInvalidException", "The instance is not in the running state")
	case in.AvailabilityZone != "" && in.AvailabilityZone != r.Region.Name+"a":
		return nil, fail("EC2InstanceNotFoundException", "Instance not found in this Availability Zone")
	}
	r.Region.pushed = append(r.Region.pushed, PushedKey{in.InstanceId, in.InstanceOSUser, in.AvailabilityZone, key, r.Cloud.now})
	return map[string]any{"RequestId": r.Cloud.id("req-", 8), "Success": true}, nil
}

// Pushed are the keys that are valid now, for a login on an instance, or for all if that is empty.
func (r *Region) Pushed(instance, user string) (list []PushedKey) {
	r.cloud.mu.Lock()
	defer r.cloud.mu.Unlock()
	for _, p := range r.pushed {
		if r.cloud.now.Sub(p.At) < PushedLife && (instance == "" || p.Instance == instance && p.User == user) {
			list = append(list, p)
		}
	}
	return list
}

// describeConnectEndpoints tells of endpoints whose DNS name is this server.
func describeConnectEndpoints(r *Request) (any, error) {
	var items [][]X
	for _, e := range r.Region.ConnectEndpoints {
		ok, err := r.matches(attributes{"vpc-id": {e.VPC}, "state": {e.State}})
		if err != nil {
			return nil, err
		}
		if ok {
			host := strings.TrimPrefix(strings.TrimPrefix(r.Cloud.URL(), "http://"), "https://")
			items = append(items, []X{el("instanceConnectEndpointId", e.ID), el("vpcId", e.VPC), el("subnetId", e.Subnet), el("state", e.State), el("dnsName", host), el("fipsDnsName", "fips."+host)})
		}
	}
	return r.pages("instanceConnectEndpointSet", items)
}

// isTunnel says that a request is to open one.
func isTunnel(req *http.Request) bool { return req.URL.Path == "/openTunnel" }
