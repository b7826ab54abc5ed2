package ec2connect_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

const (
	account   = "111122223333"
	responder = "arn:aws:iam::" + account + ":role/responder"
	instance  = "i-00000001"
	private   = "10.0.0.1"
)

// A world is an instance whose sshd takes the keys that were pushed to it, as EC2 Instance Connect's program has it.
type world struct {
	*testing.T
	cloud  *awsfake.Cloud
	region *awsfake.Region
	cfg    aws.Config
	sshd   *transporttest.Server
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, cloud: awsfake.New()}
	t.Cleanup(w.cloud.Close)
	w.region = w.cloud.Account(account).Region("eu-west-1")
	w.region.AddVPC(awsfake.VPC{ID: "vpc-1"})
	w.region.AddInstance(awsfake.Instance{ID: instance}, "subnet-1")
	w.cfg = w.cloud.Config(responder, "eu-west-1")
	w.sshd = (&transporttest.Server{Configure: func(c *ssh.ServerConfig) {
		c.PublicKeyCallback = func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			for _, p := range w.region.Pushed(instance, m.User()) {
				if string(p.Key.Marshal()) == string(key.Marshal()) {
					return nil, nil
				}
			}
			return nil, errors.New("no such key")
		}
	}}).Start(t)
	w.region.ConnectEndpoints = []awsfake.ConnectEndpoint{{ID: "eice-1", VPC: "vpc-1", State: "create-complete", Dial: func(ctx context.Context, address string, port int) (net.Conn, error) {
		if address != private || port != 22 {
			return nil, errors.New("no route")
		}
		return net.Dial("tcp", w.sshd.Addr())
	}}}
	return w
}

// target is the instance by its own address, with nothing to log in by.
func (w *world) target() transport.Target {
	t := w.sshd.Target()
	t.User, t.Auth = "ec2-user", transport.Auth{}
	return t
}

// fault has one operation answer with an error.
func (w *world) fault(operation string, e *awsfake.Error) {
	w.cloud.Edit(func() {
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Operation != operation || e == nil {
				return awsfake.Fault{}
			}
			if e.Code == "" {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{Error: e}
		}
	})
}

// calls counts the calls of an operation.
func (w *world) calls(operation string) (n int) {
	for _, c := range w.cloud.Calls() {
		if c.Operation == operation {
			n++
		}
	}
	return n
}

type staticCredentials struct{ aws.Credentials }

func (c staticCredentials) Retrieve(context.Context) (aws.Credentials, error) {
	return c.Credentials, nil
}
