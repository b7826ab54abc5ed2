package cloudevidence_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

const forensic = "444455556666"

// keyFor makes a key whose policy lets our account use it, and others.
func (w *world) keyFor(alias string, others ...string) *awsfake.Key {
	k := w.region.AddKey(alias)
	list := []string{"arn:aws:iam::" + account + ":root"}
	for _, o := range others {
		list = append(list, "arn:aws:iam::"+o)
	}
	k.Policy = fmt.Sprintf(`{"Statement":{"Effect":"Allow","Principal":{"AWS":["%s"]},"Action":"kms:*","Resource":"*"}}`, strings.Join(list, `","`))
	return k
}

// wishes are all that can be done with snapshots.
func wishes(w *world) *cloudevidence.SnapshotOptions {
	return &cloudevidence.SnapshotOptions{Case: "42", LockDays: 7, CopyKey: w.keyFor("alias/evidence", forensic+":root").Aliases[0], Share: []string{forensic}}
}

// call has whoever gathers call as arn.
func (w *world) call(arn string) {
	w.gatherer.Config = (&awsconfig.Accounts{Base: w.cloud.Config(arn, "eu-west-1"), NoIMDS: true}).Config
}

// restrict leaves the responder, and its session, all but one action, which is denied or depends on a condition.
func (w *world) restrict(action, condition string) {
	w.Helper()
	w.cloud.Account(account).AddRole("/", "responder")
	session := w.cloud.Principal("arn:aws:sts::" + account + ":assumed-role/responder/kim")
	effect := `"Effect":"Deny"`
	if condition != "" {
		effect = `"Effect":"Allow","Condition":` + condition
	}
	if err := w.cloud.Restrict(responder, fmt.Appendf(nil, `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{%s,"Action":%q,"Resource":"*"}]}`, effect, action)); err != nil {
		w.Fatal(err)
	}
	who := w.cloud.Principal(responder)
	w.cloud.Edit(func() { session.Policy = who.Policy })
}

// What is done with snapshots is asked about before there is one, by a simulation, and of those that are there by dry runs: nothing is changed.
func TestPreviewAfterwards(t *testing.T) {
	for _, action := range []string{"ec2:LockSnapshot", "ec2:CopySnapshot", "ec2:ModifySnapshotAttribute"} {
		for _, there := range []bool{false, true} {
			w := newWorld(t)
			o := wishes(w)
			if there {
				w.gatherer.Start(t.Context(), w.target, cloudevidence.SnapshotOptions{Case: "42"})
			}
			w.cloud.Reset()
			if p := w.preview(o); len(p.Missing)+len(p.Snapshots.Problems) > 0 || !slices.Equal(unchecked(p, "EC2 tells when it copies"), p.Unchecked) {
				t.Errorf("%s: %+v", action, p)
			}
			w.restrict(action, "")
			if p := w.preview(o); !slices.Equal(p.Missing, []string{action}) {
				t.Errorf("%s, there: %v: %+v", action, there, p)
			}
			for _, c := range w.cloud.Calls() {
				if c.Writes && !c.DryRun {
					t.Errorf("%s is no dry run", c.Operation)
				}
			}
			// The simulation is asked only about what EC2 cannot say: tags of a copy, as there are snapshots.
			asked := slices.ContainsFunc(w.cloud.Calls(), func(c awsfake.Call) bool {
				return c.Operation == "SimulatePrincipalPolicy" && c.Form.Get("ActionNames.member.1") == action
			})
			if asked == there {
				t.Errorf("%s, there: %v: simulated: %v", action, there, asked)
			}
		}
	}
	w := newWorld(t)
	w.restrict("ec2:CreateTags", "")
	o := wishes(w)
	if p := w.preview(o); !slices.Contains(p.Missing, "ec2:CreateTags") {
		t.Errorf("%+v", p)
	}
	if p := w.preview(&cloudevidence.SnapshotOptions{Case: "42"}); slices.Contains(p.Missing, "ec2:CreateTags") {
		t.Errorf("nothing is to be copied: %+v", p)
	}
}

func unchecked(p *cloudevidence.Preview, part string) (lines []string) {
	for _, u := range p.Unchecked {
		if strings.Contains(u, part) {
			lines = append(lines, u)
		}
	}
	return lines
}

// What nobody can tell beforehand is unchecked, with the reason.
func TestPreviewCannotTell(t *testing.T) {
	all := "ec2:LockSnapshot, ec2:CopySnapshot, ec2:CreateTags, ec2:ModifySnapshotAttribute: neither a dry run, which wants a snapshot, nor IAM's simulation tells: "
	for name, tt := range map[string]struct {
		do   func(*world)
		want string
	}{
		"a condition":           {func(w *world) { w.restrict("ec2:LockSnapshot", `{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`) }, "ec2:LockSnapshot: no dry run tells, which wants a snapshot, and by IAM's simulation it depends on aws:MultiFactorAuthPresent"},
		"no simulation":         {func(w *world) { w.restrict("iam:SimulatePrincipalPolicy", "") }, all},
		"a role that is hidden": {func(w *world) { w.restrict("iam:GetRole", "") }, all},
		"root":                  {func(w *world) { w.call("arn:aws:iam::" + account + ":root") }, all + "the policies of arn:aws:iam::" + account + ":root cannot be simulated"},
		"the key's policy":      {func(w *world) { w.restrict("kms:GetKeyPolicy", "") }, "lets account " + forensic + " use it (kms:"},
		"the key's description": {func(w *world) { w.restrict("kms:DescribeKey", "") }, "whether snapshots can be copied under the key alias/evidence: "},
	} {
		w := newWorld(t)
		w.restrict("ec2:None", "")
		w.call("arn:aws:sts::" + account + ":assumed-role/responder/kim")
		tt.do(w)
		if p := w.preview(wishes(w)); len(p.Missing) > 0 || len(unchecked(p, tt.want)) != 1 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// A condition that the request is known to meet is told to the simulation.
func TestPreviewSaysWhatItAsks(t *testing.T) {
	for _, tt := range [][3]string{{"ec2:LockSnapshot", "NumericLessThan", "ec2:SnapshotLockDuration"}, {"ec2:CreateTags", "StringEquals", "ec2:CreateAction"}, {"ec2:ModifySnapshotAttribute", "StringEquals", "ec2:Add/userId"}, {"ec2:CopySnapshot", "StringEquals", "aws:RequestedRegion"}} {
		w := newWorld(t)
		w.restrict(tt[0], fmt.Sprintf(`{%q:{%q:"x"}}`, tt[1], tt[2]))
		if p := w.preview(wishes(w)); len(unchecked(p, "depends on")) > 0 || len(p.Missing) > 0 {
			t.Errorf("%s: %+v", tt[2], p)
		}
	}
}

// A key with which what was asked for cannot come about is a problem.
func TestPreviewKeys(t *testing.T) {
	const vol = "vol-00000001"
	for name, tt := range map[string]struct {
		volume  string // its key
		o       cloudevidence.SnapshotOptions
		problem string
		open    string
	}{
		"EBS's own, shared":        {awsfake.DefaultKey, cloudevidence.SnapshotOptions{Share: []string{forensic}}, vol + " cannot be shared: AWS keeps the key", ""},
		"EBS's own, not shared":    {awsfake.DefaultKey, cloudevidence.SnapshotOptions{LockDays: 1}, "", ""},
		"EBS's own, copied":        {awsfake.DefaultKey, cloudevidence.SnapshotOptions{CopyKey: "alias/mine", Share: []string{forensic}}, "", "whether you may use arn:"},
		"ours":                     {"alias/mine", cloudevidence.SnapshotOptions{Share: []string{forensic}}, "", ""},
		"ours, shared with two":    {"alias/mine", cloudevidence.SnapshotOptions{Share: []string{forensic, "777788889999"}}, "account 777788889999 cannot use what is under ", ""},
		"ours, for one role":       {"alias/role", cloudevidence.SnapshotOptions{Share: []string{forensic}}, "", `lets "arn:aws:iam::` + forensic + `:role/x" alone use it`},
		"ours, by a condition":     {"alias/if", cloudevidence.SnapshotOptions{Share: []string{forensic}}, "", "do kms:CreateGrant: it depends on aws:PrincipalOrgID"},
		"ours, with bad policy":    {"alias/bad", cloudevidence.SnapshotOptions{Share: []string{forensic}}, "", "could not be read"},
		"ours, disabled":           {"alias/off", cloudevidence.SnapshotOptions{Share: []string{forensic}}, "nobody can use " + vol, ""},
		"unknown":                  {"arn:aws:kms:eu-west-1:999900001111:key/1", cloudevidence.SnapshotOptions{Share: []string{forensic}}, "", "whether the key of " + vol + " is your own"},
		"a copy under EBS's own":   {"", cloudevidence.SnapshotOptions{CopyKey: awsfake.DefaultKey, Share: []string{forensic}}, "cannot be shared: AWS keeps that key", ""},
		"a copy under no key":      {"", cloudevidence.SnapshotOptions{CopyKey: "alias/none"}, "nothing can be copied: ", ""},
		"a copy under a dead key":  {"", cloudevidence.SnapshotOptions{CopyKey: "alias/off"}, "the key is PendingDeletion", ""},
		"a copy under a key pair":  {"", cloudevidence.SnapshotOptions{CopyKey: "alias/rsa"}, "no key of the kind RSA_4096", ""},
		"a copy, shared with none": {"", cloudevidence.SnapshotOptions{CopyKey: "alias/mine"}, "", "whether you may use arn:"},
	} {
		for _, there := range []bool{false, true} {
			w := newWorld(t)
			mine, off, role, rsa, bad := w.keyFor("alias/mine", forensic+":root"), w.keyFor("alias/off"), w.keyFor("alias/role", forensic+":role/x"), w.keyFor("alias/rsa"), w.keyFor("alias/bad")
			org := w.keyFor("alias/if")
			org.Policy = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}}]}`
			off.State, rsa.Spec, bad.Policy = "PendingDeletion", "RSA_4096", "}"
			keys := map[string]string{}
			for _, k := range []*awsfake.Key{mine, off, role, bad, org} {
				keys[k.Aliases[0]] = k.ARN
			}
			w.instance.Devices[0].KMSKey = cmp.Or(keys[tt.volume], tt.volume)
			tt.o.Case = "42"
			want := tt.problem
			if there {
				ids := w.gatherer.Start(t.Context(), w.target, cloudevidence.SnapshotOptions{Case: "42"})
				want = strings.ReplaceAll(want, vol, ids.Snapshots[0].ID)
			}
			p := w.preview(&tt.o)
			got := strings.Join(p.Snapshots.Problems, "\n")
			if want == "" && got != "" || !strings.Contains(got, want) || want != "" && len(p.Snapshots.Problems) != 1 {
				t.Errorf("%s, there: %v: problems %q, want %q", name, there, got, want)
			}
			if open := strings.Join(unchecked(p, ""), "\n"); tt.open == "" && open != "" || !strings.Contains(open, tt.open) && !there || len(p.Missing) > 0 {
				t.Errorf("%s, there: %v: unchecked %q, want %q, missing %q", name, there, open, tt.open, p.Missing)
			}
		}
	}
}

// One simulation, and one look at a key, are for all instances of a place.
func TestPreviewAfterwardsOnce(t *testing.T) {
	w := newWorld(t)
	p, o := &cloudevidence.Previewer{Gatherer: w.gatherer}, wishes(w)
	for range 5 {
		p.Preview(w.Context(), w.target, nil, o)
	}
	if n, m, k := w.count("SimulatePrincipalPolicy"), w.count("DescribeKey"), w.count("GetKeyPolicy"); n != 4 || m != 1 || k != 1 {
		t.Errorf("%d simulations, %d keys, %d policies", n, m, k)
	}
}

// A service that only fails is given up soon, so that there is time to ask the others.
func TestPreviewImpatient(t *testing.T) {
	w := newWorld(t)
	w.gatherer.Config = cloudevidence.Impatient(w.gatherer.Config)
	w.fault(func(int, *awsfake.Call) awsfake.Fault {
		return awsfake.Fault{Error: &awsfake.Error{Code: "InternalFailure", Message: "no", Status: 500}}
	}, "DescribeLockedSnapshots", "SimulatePrincipalPolicy")
	p := w.preview(wishes(w))
	if len(p.Unchecked) != 3 || len(p.Snapshots.Volumes) != 2 || w.count("DescribeLockedSnapshots") != 3 || w.count("SimulatePrincipalPolicy") != 3 || w.count("GetKeyPolicy") != 1 {
		t.Errorf("%+v", p)
	}
}
