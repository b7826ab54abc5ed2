package cloudevidence_test

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/sink"
)

const (
	account   = "111122223333"
	responder = "arn:aws:iam::" + account + ":role/responder"
	policyARN = "arn:aws:iam::" + account + ":policy/app"
	victim    = "i-00000001"
)

// A world is one instance with two volumes and all that belongs to it.
type world struct {
	*testing.T
	cloud    *awsfake.Cloud
	region   *awsfake.Region
	instance *awsfake.Instance
	target   containment.Target
	gatherer *cloudevidence.Gatherer
	signers  *signature.AllowedSigners
	place    cloudevidence.Place
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, cloud: awsfake.New(), target: containment.Target{Kind: containment.Instance, Account: account, Region: "eu-west-1", Name: victim}}
	t.Cleanup(w.cloud.Close)
	w.region = w.cloud.Account(account).Region("eu-west-1")
	w.region.AddVPC(awsfake.VPC{ID: "vpc-00000001"})
	subnet := w.region.AddSubnet("vpc-00000001", awsfake.Route{To: "0.0.0.0/0", Via: "igw-00000001"})
	web := w.region.AddGroup("vpc-00000001", "web", awsfake.TCP(false, 443, "0.0.0.0/0"))
	w.instance = w.region.AddInstance(awsfake.Instance{
		ID: victim, Profile: "arn:aws:iam::" + account + ":instance-profile/web", Tags: map[string]string{"Name": "web-\u202e1", "Empty": ""},
		UserData: "#!/bin/sh\nPASSWORD=hunter2\n", Screenshot: []byte("\xff\xd8\xff\xe0 picture"),
		Console: awsfake.Console{Posted: "Linux version 6.12\n", Latest: "login: \x1b[31m\n", At: awsfake.Start},
		Devices: []*awsfake.Device{{Name: "/dev/xvda", Volume: "vol-00000001"}, {Name: "/dev/sdb", Volume: "vol-00000002"}},
	}, subnet.ID, web.ID)
	role := w.cloud.Account(account).AddRole("/", "web-role")
	role.Profiles, role.Attached = []string{"web"}, []string{policyARN}
	role.Policies["inline"] = `{"Statement":[{"Effect":"Allow","Action":"s3:*"}]}`
	w.cloud.Account(account).IAM().Managed = map[string]string{policyARN: `{"Statement":[{"Effect":"Allow","Action":"ec2:*"}]}`}
	w.region.Trail = []awsfake.TrailEvent{{Resource: victim, JSON: "{\"eventName\":\n\"RunInstances\"}"}, {Resource: "web-role", JSON: `{"eventName":"AssumeRole"}`}, {Resource: "other", JSON: `{}`}}
	a := &awsconfig.Accounts{Base: w.cloud.Config(responder, "eu-west-1"), NoIMDS: true}
	w.gatherer = &cloudevidence.Gatherer{Config: a.Config, Now: w.cloud.Now, Sleep: w.cloud.Sleep}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if w.signers, err = signature.ParseAllowedSigners(strings.NewReader("alice "+string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), "signers"); err != nil {
		t.Fatal(err)
	}
	disk, err := sink.NewDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w.place = cloudevidence.Place{Sink: disk, Signer: signer}
	return w
}

func (w *world) kinds(words ...string) []cloudevidence.Kind {
	w.Helper()
	kinds, _, err := cloudevidence.Parse(words)
	if err != nil {
		w.Fatal(err)
	}
	return kinds
}

// read reads items, by name.
func (w *world) read(words ...string) (*cloudevidence.Collection, map[string]cloudevidence.Item, map[string]string) {
	w.Helper()
	c := w.gatherer.Read(w.Context(), w.target, w.kinds(words...), nil, nil)
	items, texts := map[string]cloudevidence.Item{}, map[string]string{}
	for n, it := range c.Items {
		text, err := c.Content(n)
		if err != nil {
			w.Fatal(err)
		}
		items[it.Name], texts[it.Name] = it, string(text)
	}
	return c, items, texts
}

// fault lets something go wrong with calls of an operation.
func (w *world) fault(do func(n int, c *awsfake.Call) awsfake.Fault, operations ...string) {
	count := 0
	w.cloud.Edit(func() {
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			for _, o := range operations {
				if c.Operation == o {
					count++
					return do(count, c)
				}
			}
			return awsfake.Fault{}
		}
	})
}

func denied(_ int, c *awsfake.Call) awsfake.Fault { return awsfake.Fault{Error: awsfake.Denied(c)} }

func (w *world) count(operation string) (n int) {
	for _, c := range w.cloud.Calls() {
		if c.Operation == operation {
			n++
		}
	}
	return n
}

// record is one that has nothing yet of what was asked for.
func (w *world) record(asked ...string) *cloudevidence.Record {
	return &cloudevidence.Record{About: cloudevidence.About{Host: "web", Instance: cloudevidence.Instance{ID: victim}}, Begun: w.cloud.Now(), Asked: asked}
}

// store stores what was read.
func (w *world) store(c *cloudevidence.Collection, set *cloudevidence.SnapshotSet) records.Stored {
	w.Helper()
	rec := w.record()
	rec.Snapshots = set
	s, err := cloudevidence.NewKeeping(cloudevidence.BaseName("web", w.cloud.Now()), *rec).Store(w.Context(), w.place, rec, c)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *world) verify(name string) *cloudevidence.Verification {
	w.Helper()
	v, err := cloudevidence.Verify(w.Context(), w.place.Sink.(sink.Opener), name, cloudevidence.VerifyOptions{Signers: w.signers, At: time.Now()})
	if err != nil {
		w.Fatal(err)
	}
	return v
}

// encrypt has what is stored from here on encrypted, and returns who reads it.
func (w *world) encrypt() *age.X25519Identity {
	w.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		w.Fatal(err)
	}
	to, err := agefile.ParseRecipient(id.Recipient().String())
	if err != nil {
		w.Fatal(err)
	}
	w.place.Recipients = []agefile.Recipient{to}
	return id
}
