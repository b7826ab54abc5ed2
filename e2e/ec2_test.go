//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
)

// A connectFront stands before moto and is EC2 Instance Connect for guests: it passes all calls on, records the keys that are pushed, and has
// the instance's guest hold each for 60 seconds of its own clock. It answers for consoles, as moto knows but one text, and remembers idle timeouts, which
// moto does not.
type connectFront struct {
	t       *testing.T
	proxy   http.Handler
	refuse  string            // an operation that nobody may call
	guests  map[string]*rig   // by instance
	console map[string]string // by instance

	mu     sync.Mutex
	pushed []pushedKey
	idle   map[string]string // timeouts as XML, by interface
}

type pushedKey struct{ InstanceId, InstanceOSUser, SSHPublicKey, AvailabilityZone string }

func newConnectFront(t *testing.T, to string) (*connectFront, string) {
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	f := &connectFront{t: t, proxy: httputil.NewSingleHostReverseProxy(u), guests: map[string]*rig{}, console: map[string]string{}, idle: map[string]string{}}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return f, srv.URL
}

func (f *connectFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the client is gone
	}
	form, _ := url.ParseQuery(string(body))
	_, target, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	f.mu.Lock()
	refuse := f.refuse
	f.mu.Unlock()
	switch {
	case refuse != "" && target == refuse:
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"__type":"AccessDeniedException","message":"not here"}`)
		return
	case form.Get("Action") == "DescribeSecondaryInterfaces", form.Get("Action") == "DescribeInstanceConnectEndpoints": // moto fails, and each caller tries eight times
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<%[1]sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"/>`, form.Get("Action"))
		return
	case target == "DescribeInstanceInformation": // so it does here
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		io.WriteString(w, `{"InstanceInformationList": []}`)
		return
	case target == "SendSSHPublicKey":
		var k pushedKey
		if err := json.Unmarshal(body, &k); err != nil {
			f.t.Errorf("%v: %s", err, body)
		}
		f.hold(k)
	case form.Get("Action") == "GetConsoleOutput" && f.console[form.Get("InstanceId")] != "":
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<GetConsoleOutputResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><instanceId>%s</instanceId><timestamp>2026-11-01T00:00:00.000Z</timestamp><output>%s</output></GetConsoleOutputResponse>`,
			form.Get("InstanceId"), base64.StdEncoding.EncodeToString([]byte(f.console[form.Get("InstanceId")])))
		return
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if form.Get("Action") != "DescribeNetworkInterfaces" {
		f.remember(form)
		f.proxy.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	r.Header.Del("Accept-Encoding")
	f.proxy.ServeHTTP(answer, r)
	text := answer.Body.String()
	f.mu.Lock()
	for id, idle := range f.idle {
		text = strings.ReplaceAll(text, "<networkInterfaceId>"+id+"</networkInterfaceId>", "<networkInterfaceId>"+id+"</networkInterfaceId>"+idle)
	}
	f.mu.Unlock()
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(answer.Code)
	io.WriteString(w, text)
}

// remember keeps the idle timeouts that a call sets.
func (f *connectFront) remember(form url.Values) {
	var idle string
	for _, name := range []string{"TcpEstablishedTimeout", "UdpStreamTimeout", "UdpTimeout"} {
		if v := form.Get("ConnectionTrackingSpecification." + name); v != "" {
			tag := strings.ToLower(name[:1]) + name[1:]
			idle += "<" + tag + ">" + v + "</" + tag + ">"
		}
	}
	if idle != "" {
		f.mu.Lock()
		f.idle[form.Get("NetworkInterfaceId")] = "<connectionTrackingConfiguration>" + idle + "</connectionTrackingConfiguration>"
		f.mu.Unlock()
	}
}

// hold has the guest hold a key.
func (f *connectFront) hold(k pushedKey) {
	f.mu.Lock()
	f.pushed = append(f.pushed, k)
	g := f.guests[k.InstanceId]
	f.mu.Unlock()
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.SSHPublicKey)); err != nil || g == nil || strings.Trim(k.InstanceOSUser, "abcdefghijklmnopqrstuvwxyz") != "" {
		f.t.Errorf("%+v: %v", k, err)
		return
	}
	if _, err := g.guest.SSH(f.t.Context(), "root", fmt.Sprintf("echo \"$(( $(date +%%s) + 60 )) %s\" >>/run/connect/%s", strings.TrimSpace(k.SSHPublicKey), k.InstanceOSUser)); err != nil {
		f.t.Errorf("hold a key: %v", err)
	}
}

// install has the guest's sshd ask for keys as the package ec2-instance-connect has it, and makes its console that of cloud-init.
func (f *connectFront) install(r *rig, instance string) {
	r.ssh(`mkdir -p /run/connect && chmod 755 /run/connect
cat >/usr/local/sbin/connect-keys <<'END'
#!/bin/sh
now=$(date +%s)
[ -r "/run/connect/$1" ] && while read -r until key; do [ "$until" -gt "$now" ] && echo "$key"; done <"/run/connect/$1"
exit 0
END
chmod 755 /usr/local/sbin/connect-keys
printf '%s\n' 'AuthorizedKeysCommand /usr/local/sbin/connect-keys %u' 'AuthorizedKeysCommandUser nobody' >/etc/ssh/sshd_config.d/connect.conf
sshd -t && kill -HUP "$(cat /run/sshd.pid)"`)
	text := "Linux version\n-----BEGIN SSH HOST KEY KEYS-----\n"
	for _, k := range r.guest.Lab.HostKeys {
		text += strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))) + " root@lab\n"
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guests[instance], f.console[instance] = r, text+"-----END SSH HOST KEY KEYS-----\n"
}

// instances captures two guests that moto takes for instances, in one command: named by a tag, entered by a pushed key, with the evidence that AWS has of them, and
// isolated. The program runs in a network in which the instances' addresses, those that moto gave them, lead to the guests, and the one of the endpoint to moto.
func instances(t *testing.T, a, b *rig) {
	moto, err := parts.StartMoto(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { moto.Close() })
	front, endpoint := newConnectFront(t, moto.Endpoint)
	env := moto.Env("eu-west-1")
	for i, kv := range env {
		if strings.HasPrefix(kv, "AWS_ENDPOINT_URL=") {
			env[i] = "AWS_ENDPOINT_URL=" + endpoint
		}
	}
	api := awsec2.NewFromConfig(moto.Config("eu-west-1"))
	p := aws.String
	vpc := got(api.CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: p("10.77.0.0/16")}))(t).Vpc.VpcId
	subnet := got(api.CreateSubnet(t.Context(), &awsec2.CreateSubnetInput{VpcId: vpc, CidrBlock: p("10.77.1.0/24")}))(t).Subnet.SubnetId
	launch := func() (id string, sshd netip.AddrPort) {
		one := int32(1)
		i := got(api.RunInstances(t.Context(), &awsec2.RunInstancesInput{ImageId: p("ami-785db401"), InstanceType: "m5.large", MinCount: &one, MaxCount: &one, SubnetId: subnet,
			TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeInstance, Tags: []ec2types.Tag{{Key: p("Case"), Value: p("42")}}}}}))(t).Instances[0]
		return *i.InstanceId, netip.AddrPortFrom(netip.MustParseAddr(*i.PrivateIpAddress), 22)
	}
	world, addrs, ids := network{}, []string{}, []string{}
	for _, e := range []string{endpoint, moto.Endpoint} { // that of STS is moto's own
		e = strings.TrimPrefix(e, "http://")
		world[netip.MustParseAddrPort(e)] = e
	}
	stopped, _ := launch()
	got(api.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{stopped}}))(t)
	gone, _ := launch()
	for _, r := range []*rig{a, b} {
		id, sshd := launch()
		world[sshd] = r.guest.Addr()
		ids, addrs = append(ids, id), append(addrs, sshd.String())
		front.install(r, id)
	}

	dir, empty := t.TempDir(), filepath.Join(t.TempDir(), "known_hosts")
	defaults := filepath.Join(t.TempDir(), "case.yml")
	if err := errors.Join(os.WriteFile(empty, nil, 0o600), os.WriteFile(defaults, []byte("defaults: {containment: {untrack_wait: 2s}}\nhosts: []\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	args := func(command string, more ...string) []string {
		return append([]string{command, "--ec2", "tag:Case=42", "--ec2-connect", "push", "--user", "ops", "--ssh-config", "none", "--known-hosts", empty,
			"--connect-attempts", "1", "--case", "case-42", "--module", parts.Module, "--module-sha256", sha256File(t, parts.Module)}, more...)
	}
	// Without pins the host keys are unknown, and no key is pushed to whoever answers.
	world.start(t, env, args("plan")...).want(1, 2*time.Minute, "is unknown", gone+": ")
	if len(front.pushed) > 0 {
		t.Errorf("pushed to a stranger: %+v", front.pushed)
	}
	// Who may not push is told so.
	front.refuse = "SendSSHPublicKey"
	world.start(t, env, args("plan", "--ec2-host-keys", "console")...).want(1, 2*time.Minute, "AccessDeniedException", "need ec2-instance-connect:SendSSHPublicKey")
	front.mu.Lock()
	front.refuse = ""
	front.mu.Unlock()

	// What went after the plan is no reason to leave the others.
	got(api.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{gone}}))(t)

	c := world.start(t, env, args("capture", "--ec2-host-keys", "console", "-c", defaults, "--contain", "complete", "--watch", "0s", "--gather", "instance,user-data,console,tags,snapshots",
		"--output", dir, "--journal", filepath.Join(dir, "journals"), "--sign-key", a.signKey(), "--progress", "lines")...)
	code := c.code(9 * time.Minute)
	if out := c.stdout.String(); strings.Count(out, "\tcomplete\t") != 2 || code != 0 && code != 5 { // groups of moto's cut nothing here: a flow that lives on is told with 5
		t.Errorf("exit code %d, stdout:\n%s", code, out)
	}
	for id, why := range map[string]string{stopped: "it is stopped", gone: "it is terminated"} {
		if !strings.Contains(c.stderr.String(), "left out: "+id+": "+why) {
			t.Errorf("%s is not named: %s", id, why)
		}
	}
	a.clean(30 * time.Second)
	b.clean(30 * time.Second)
	keys := map[string]bool{}
	for n, id := range ids {
		files, _ := filepath.Glob(filepath.Join(dir, id+"-*.json"))
		if len(files) != 1 {
			t.Fatalf("%s: manifests %q", id, files)
		}
		var m acquire.Manifest
		data, err := os.ReadFile(files[0])
		if err == nil {
			err = json.Unmarshal(data, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		in := m.Target.Connection
		if !m.Complete || in.Auth != "publickey" || in.User != "ops" || in.Addr != addrs[n] || !strings.HasPrefix(in.Grant, "EC2 Instance Connect: request ") ||
			in.HostKeyTrust != "console output of 2026-11-01T00:00:00Z of "+id || m.Labels["ec2_instance"] != id {
			t.Errorf("complete %t, %+v, %v", m.Complete, in, m.Labels)
		}
		keys[in.AuthKey] = true
		start(t, nil, "verify", "--signers", a.signers(), m.Image.Location).want(0, time.Minute)
	}
	if len(keys) != 1 {
		t.Errorf("keys %v", keys)
	}
	for _, k := range front.pushed {
		public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.SSHPublicKey))
		if err != nil || !keys[ssh.FingerprintSHA256(public)] || k.InstanceOSUser != "ops" || !strings.HasPrefix(k.AvailabilityZone, "eu-west-1") {
			t.Errorf("%+v: %v", k, err)
		}
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "*-audit.jsonl"))
	var log []byte
	if len(logs) == 1 {
		log, _ = os.ReadFile(logs[0])
	}
	if n := bytes.Count(log, []byte(`"event":"key-pushed"`)); n != len(front.pushed) || n < 2 {
		t.Errorf("%d lines of pushes, %d pushes; logs %q", n, len(front.pushed), logs)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "*.gathered")); len(found) != 2 {
		t.Errorf("evidence of AWS: %q", found)
	}
	snapshots := got(api.DescribeSnapshots(t.Context(), &awsec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []ec2types.Filter{{Name: p("tag-key"), Values: []string{"shotglass-case"}}}}))(t).Snapshots
	if len(snapshots) < 2 {
		t.Errorf("%d snapshots", len(snapshots))
	}
	for _, id := range ids {
		for _, i := range got(api.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{InstanceIds: []string{id}}))(t).Reservations[0].Instances[0].NetworkInterfaces {
			if len(i.Groups) == 0 || !strings.Contains(*i.Groups[0].GroupName, "isolate") {
				t.Errorf("%s is not isolated: %+v", id, i.Groups)
			}
		}
	}

	// The private key is nowhere on this disk.
	filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.Contains(name, "mem.lime") {
			if data, err := os.ReadFile(name); err != nil || bytes.Contains(data, []byte("PRIVATE KEY")) {
				t.Errorf("%s: %v", name, err)
			}
		}
		return err
	})
}
