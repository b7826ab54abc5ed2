package awslab

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Keys are of one run: the client's, and the one that every instance is given as its host key.
type Keys struct {
	client ssh.Signer
	host   ssh.Signer
	secret []byte // the host key as OpenSSH writes it
}

// NewKeys makes keys that nobody else has.
func NewKeys() (*Keys, error) {
	k := &Keys{}
	for _, s := range []*ssh.Signer{&k.client, &k.host} {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		if *s, err = ssh.NewSignerFromKey(private); err != nil {
			return nil, err
		}
		block, err := ssh.MarshalPrivateKey(private, "")
		if err != nil {
			return nil, err
		}
		k.secret = pem.EncodeToMemory(block) // that of the last one, the host
	}
	return k, nil
}

// Script is the first boot of an instance: its host key, who may log in as root, and a program that runs on.
func (k *Keys) Script(program string) string {
	return fmt.Sprintf(`#!/bin/bash
set -eu
rm -f /etc/ssh/ssh_host_*
umask 077
cat > /etc/ssh/ssh_host_ed25519_key <<'KEY'
%sKEY
echo '%s' > /etc/ssh/ssh_host_ed25519_key.pub
mkdir -p /root/.ssh
echo '%s' > /root/.ssh/authorized_keys
systemctl restart sshd
cat > /root/flows.py <<'PROGRAM'
%s
PROGRAM
systemd-run --unit flows --property Restart=always python3 -u /root/flows.py
`, k.secret, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.host.PublicKey()))), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.client.PublicKey()))), program)
}

// Server answers two kinds of connections on port 7000: a chatty one, whose bytes it times, and a quiet one, to which it sends a byte
// after 90 s of silence each, longer than the shortest idle timeout of a tracked connection.
const Server = `import socket, threading, time
def serve(c):
    kind = c.makefile("rb").readline().strip().decode()
    while True:
        if kind == "quiet":
            time.sleep(90)
            c.send(b"x")
        elif not c.recv(1):
            return
        open("/run/flow-" + kind, "w").write(str(time.time()))
s = socket.create_server(("", 7000))
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
`

// Client holds both connections to the server, and times the bytes that come on the quiet one.
func Client(server, name string) string {
	return fmt.Sprintf(`import socket, threading, time
def connect(kind):
    while True:
        try:
            c = socket.create_connection((%q, 7000), 10)
            c.settimeout(None)
            c.send(kind.encode() + b"\n")
            return c
        except OSError:
            time.sleep(2)
def quiet():
    c = connect("quiet")
    while c.recv(1):
        open("/run/flow-quiet", "w").write(str(time.time()))
threading.Thread(target=quiet, daemon=True).start()
c = connect(%q)
open("/run/flow-begun", "w").write(str(time.time()))
while True:
    c.send(b"x")
    time.sleep(5)
`, server, name)
}

// Dial connects to an instance as root, with its host key pinned; through another, if that is given.
func (k *Keys) Dial(ctx context.Context, address string, through *ssh.Client) (*ssh.Client, error) {
	address = net.JoinHostPort(address, "22")
	var raw net.Conn
	var err error
	if through != nil {
		raw, err = through.DialContext(ctx, "tcp", address)
	} else {
		raw, err = (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	timer := time.AfterFunc(20*time.Second, func() { raw.Close() })
	defer timer.Stop()
	c, chans, reqs, err := ssh.NewClientConn(raw, address, &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(k.client)}, HostKeyCallback: ssh.FixedHostKey(k.host.PublicKey()), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		raw.Close()
		return nil, err
	}
	return ssh.NewClient(c, chans, reqs), nil
}

// Run runs a command within 20 s, and returns what it printed. A connection that died does not answer: it is then closed.
func Run(c *ssh.Client, command string) (string, error) {
	timer := time.AfterFunc(20*time.Second, func() { c.Close() })
	defer timer.Stop()
	s, err := c.NewSession()
	if err != nil {
		return "", err
	}
	defer s.Close()
	var out, errs bytes.Buffer
	s.Stdout, s.Stderr = &out, &errs
	if err := s.Run(command); err != nil {
		return "", fmt.Errorf("%q: %w: %s", command, err, &errs)
	}
	return strings.TrimSpace(out.String()), nil
}
