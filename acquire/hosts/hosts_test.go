package hosts

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the schema anew")

func mustParse(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse("hosts.yml", []byte(text), Options{Dir: "/case", Home: "/home/me"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func secretText(t *testing.T, s *Secret) string {
	t.Helper()
	if s == nil {
		return ""
	}
	f, err := s.Func(os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	b, err := f(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMargarita: a file of Margarita Shotgun means what it meant.
func TestMargarita(t *testing.T) {
	data, err := os.ReadFile("testdata/margarita.yml")
	if err != nil {
		t.Fatal(err)
	}
	f := mustParse(t, string(data))
	if f.AWS.Bucket != "memory-dumps" || f.Workers != 2 || f.Logging != (Logging{"/case/logs", "casenumber-10"}) ||
		!f.Repository.Enabled || f.Repository.GPGVerify == nil || *f.Repository.GPGVerify || f.Repository.Manifest != "primary" || len(f.Hosts) != 2 {
		t.Errorf("%+v", f)
	}
	a, b := f.Hosts[0], f.Hosts[1]
	if a.Addr != "52.36.191.233" || a.Port != 22 || a.Username != "ec2-user" || a.Key[0] != "/case/rootkey.pem" ||
		a.Module[0] != "/case/lime-4.1.19-24.31.amzn1.x86_64.ko" || a.JumpHost.Addr != "10.0.0.1" || len(a.JumpHost.Key) != 0 {
		t.Errorf("%+v", a)
	}
	// Beside a key the password is its passphrase; it must not reach the host.
	if a.Password != nil || secretText(t, a.Passphrase) != "hunter2" {
		t.Errorf("password %v, passphrase %v", a.Password, a.Passphrase)
	}
	if secretText(t, a.JumpHost.Password) != "secret" || secretText(t, b.Password) != "hunter3" || b.Port != 0 || b.Filename != "second.lime" {
		t.Errorf("%+v", b)
	}
	if f.Logging != (Logging{Dir: "/case/logs", Prefix: "casenumber-10"}) {
		t.Errorf("%+v", f.Logging)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", a, a, a, a.Passphrase); strings.Contains(s, "hunter") {
		t.Errorf("printing a host shows its secret: %s", s)
	}
}

// A host's recipients are in place of all defaults: whoever is not named cannot decrypt.
func TestRecipientsAreOneChoice(t *testing.T) {
	const key = "age1jegdaca5fw2wfghqlel59mwhkev6uzqyaxhepvtw6zued92dtgtq08ule8"
	f := mustParse(t, `
defaults: {recipients: `+key+`, recipients_file: team}
hosts:
- addr: a
- {addr: b, recipients_file: own}
- {addr: c, recipients: [`+key+`]}
`)
	m := f.Merged()
	if len(m[0].Recipients) != 1 || len(m[0].RecipientsFile) != 1 || len(m[1].Recipients) != 0 || m[1].RecipientsFile[0] != "/case/own" || len(m[2].Recipients) != 1 || len(m[2].RecipientsFile) != 0 {
		t.Errorf("%+v", m)
	}
}

// How is said for all, what for each.
func TestContainmentIsMerged(t *testing.T) {
	f := mustParse(t, `
defaults: {containment: {gate: always, role_arn: "arn:aws:iam::111122223333:role/ir", lock_first: true, break_glass: role/fire}}
hosts:
- {addr: a, containment: {targets: [i-0123456789abcdef0, role/web], break_glass: user/x}}
- {addr: b, containment: {targets: AKIAIOSFODNN7EXAMPLE, gate: complete, protect_first: false, lock_first: false}}
- addr: c
`)
	m := f.Merged()
	no, yes := false, true
	want := []Containment{
		{There: true, Targets: Strings{"i-0123456789abcdef0", "role/web"}, Gate: "always", LockFirst: &yes, RoleARN: "arn:aws:iam::111122223333:role/ir", BreakGlass: Strings{"role/fire", "user/x"}},
		{There: true, Targets: Strings{"AKIAIOSFODNN7EXAMPLE"}, Gate: "complete", LockFirst: &no, ProtectFirst: &no, RoleARN: "arn:aws:iam::111122223333:role/ir", BreakGlass: Strings{"role/fire"}},
		{Gate: "always", LockFirst: &yes, RoleARN: "arn:aws:iam::111122223333:role/ir", BreakGlass: Strings{"role/fire"}},
	}
	for i := range want {
		if d := cmp.Diff(want[i], m[i].Containment); d != "" {
			t.Errorf("%s (-want +got):\n%s", m[i].Addr, d)
		}
	}
}

func TestDefaultsAreMerged(t *testing.T) {
	f := mustParse(t, `
defaults:
  port: 2222
  key: [~/a, b]
  password: p
  jump_host: {addr: j}
  labels: {x: "1", y: "1"}
  module: m
  freeze: true
  freeze_exempt: [x.service]
hosts:
- addr: a
- {addr: b, port: 22, key: c, labels: {y: "2"}, proxy_command: nc %h %p, freeze: false, freeze_exempt: y}
- {addr: c, password: login}
- addr: d
  jumps: [{addr: j1}, {addr: j2, username: u}]
`)
	m := f.Merged()
	if m[0].Port != 2222 || m[1].Port != 22 {
		t.Errorf("ports %d, %d", m[0].Port, m[1].Port)
	}
	if !*m[0].Freeze || *m[1].Freeze || m[0].FreezeExempt[0] != "x.service" || m[1].FreezeExempt[0] != "y" {
		t.Errorf("freeze %t %q, %t %q", *m[0].Freeze, m[0].FreezeExempt, *m[1].Freeze, m[1].FreezeExempt)
	}
	if d := cmp.Diff(Strings{"/home/me/a", "/case/b"}, m[0].Key); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"x": "1", "y": "2"}, m[1].Labels); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"x": "1", "y": "1"}, m[0].Labels); d != "" {
		t.Errorf("one host's labels show in another's: %s", d)
	}
	if m[1].JumpHost != nil || m[1].ProxyCommand == "" || m[0].JumpHost == nil || len(m[3].Route()) != 2 || m[3].JumpHost != nil {
		t.Errorf("routes %+v", m)
	}
	if m[0].Password != nil || secretText(t, m[0].Passphrase) != "p" || secretText(t, m[2].Password) != "login" || secretText(t, m[2].Passphrase) != "p" {
		t.Errorf("passwords %v %v", m[0], m[2])
	}
}

func TestAnchors(t *testing.T) {
	f := mustParse(t, `
hosts:
- &first
  addr: a
  username: &u root
  labels: {x: y}
- <<: *first
  addr: b
- {addr: c, username: *u}
`)
	if f.Hosts[1].Username != "root" || f.Hosts[1].Addr != "b" || f.Hosts[1].Labels["x"] != "y" || f.Hosts[2].Username != "root" {
		t.Errorf("%+v", f.Hosts)
	}
}

// faults: each text has exactly these errors.
var faults = []struct {
	name, text string
	want       []string
}{
	{"unknown keys", "hosts:\n- adr: web1\n  addr: web1\nhost: []\nx: 1\n", []string{
		`2:3: unknown key "adr" in hosts[0]; is it "addr"?`,
		`4:1: unknown key "host"; is it "hosts"?`,
		`5:1: unknown key "x"; known are case, defaults, hosts, workers, limit_total_rate, notify, notify_secret, aws, logging, repository`,
	}},
	{"duplicate key", "hosts:\n- addr: a\n  port: 1\n  port: 2\n", []string{`4:3: key "port" is given twice, first in line 3`}},
	{"duplicate host", "hosts:\n- addr: a\n- addr: A\n- {addr: b, name: a}\n", []string{
		`3:3: host "A" is there twice, first as hosts[0] in line 2; to capture two machines under one address, give each a name`,
		`4:13: host "a" is there twice, first as hosts[0] in line 2; to capture two machines under one address, give each a name`,
	}},
	{"duplicate place", "hosts:\n- addr: a\n- {addr: a, name: b}\n", []string{`3:4: host "a" is there twice, first as hosts[0] in line 2`}},
	{"types", "hosts:\n- addr: 10\n  port: high\n  username: [a]\n  labels: {a: 1}\n  key: {a: b}\n  password: 1234\n", []string{
		`2:9: hosts[0].addr is a number, want text (in quotes)`,
		`3:9: hosts[0].port is "high", want a number from 1 to 65535`,
		`4:13: hosts[0].username is a list, want text`,
		`5:15: hosts[0].labels.a is a number, want text (in quotes)`,
		`6:8: hosts[0].key is a block of keys, want text or a list of texts`,
		`7:13: hosts[0].password is a number, want text (in quotes), or a block with file, env or command`,
	}},
	{"ports", "hosts:\n- {addr: a, port: 0}\n- {addr: b, port: 65536}\n- {addr: c, port: -1}\n- {addr: d, port: 22.5}\n", []string{
		`2:19: hosts[0].port is 0, want a number from 1 to 65535`,
		`3:19: hosts[1].port is 65536, want a number from 1 to 65535`,
		`4:19: hosts[2].port is -1, want a number from 1 to 65535`,
		`5:19: hosts[3].port is 22.5, want a number from 1 to 65535`,
	}},
	{"addresses", "hosts:\n- addr: ops@a\n- addr: a:22\n- addr: -oProxyCommand=id\n- addr: $(id)\n- port: 22\n-\n- addr: ''\n", []string{
		`2:9: hosts[0].addr: "ops@a": the login name has a key of its own, username`,
		`3:9: hosts[1].addr: "a:22": the port has a key of its own, port; IPv6 addresses stand without brackets`,
		`4:9: hosts[2].addr: "-oProxyCommand=id": the name starts with a dash`,
		`5:9: hosts[3].addr: "$(id)": the name has characters that no host name has`,
		`6:3: hosts[4] has no addr`,
		`7:2: hosts[5] is empty`,
		`8:3: hosts[6] has no addr`,
	}},
	{"one name", "defaults: {output: x}\nhosts:\n- {addr: a, filename: i.lime}\n- {addr: b, filename: I.lime}\n- {addr: c, filename: i.lime, output: y}\n- {addr: d, filename: i.json}\n- {addr: e, filename: ../i}\n", []string{
		`4:13: hosts[0] in line 3 writes "I.lime" too`,
		`6:23: hosts[3].filename: name "i.json": must not end in .json, which the files beside an image do`,
		`7:23: hosts[4].filename: `,
	}},
	{"routes", "hosts:\n- addr: a\n  jump_host: {addr: j}\n  jumps: [{addr: k}]\n- addr: b\n  jump_host: {username: u}\n", []string{
		`4:3: hosts[0]: jump_host and jumps exclude each other`,
		`6:14: hosts[1].jump_host has no addr`,
	}},
	{"secrets", "hosts:\n- {addr: a, password: {}}\n- {addr: b, password: {file: x, env: y}}\n- {addr: c, password: {command: pass}}\n- {addr: d, password: {fil: x}}\n", []string{
		`2:23: hosts[0].password wants one of file, env and command`,
		`3:23: hosts[1].password wants one of file, env and command`,
		`4:33: hosts[2].password.command is text, want a list, each entry after a dash`,
		`5:24: unknown key "fil" in hosts[3].password; is it "file"?`,
	}},
	{"pins", "hosts:\n- {addr: a, host_key: MD5:aa, module_sha256: [ab]}\n", []string{
		`2:23: hosts[0].host_key: host key "MD5:aa" is not a SHA256 fingerprint, as ssh-keygen -lf prints it`,
		`2:47: hosts[0].module_sha256[0]: "ab" is not a SHA-256 in hexadecimal, as sha256sum prints it`,
	}},
	{"workers", "workers: many\n", []string{`1:10: workers is "many", want a number from 1 to 10000, or auto`}},
	{"connections", "defaults: {connections: lots}\nhosts:\n- {addr: a, connections: 17}\n", []string{
		`1:25: defaults.connections is "lots", want a number from 1 to 16, or auto`,
		`3:26: hosts[0].connections is 17, want a number from 1 to 16, or auto`,
	}},
	{"compressors", "hosts:\n- {addr: a, compress_on_target: off}\n- {addr: b, compress_on_target: xz}\n", []string{
		`3:33: hosts[1].compress_on_target: "xz" is no compressor: want one of off, auto, zstd, lz4, gzip`,
	}},
	{"rates", "limit_total_rate: 5\nhosts:\n- {addr: a, limit_rate: 1kB/s}\n- {addr: b, limit_rate: 400 Mbit/s}\n", []string{
		`1:19: limit_total_rate is a number, want text (in quotes)`,
		`3:25: hosts[0].limit_rate: "1kB/s" is less than`,
	}},
	{"no workers", "workers: 0\n", []string{`1:10: workers is 0, want a number from 1 to 10000, or auto`}},
	{"repository", "repository: {gpg_verify: false, key: [67172B17, \"80DA 92CB 0916 1F24 1C8F  9BC9 18BA 9803 6717 2B17\"]}\n", []string{
		`1:14: repository.key is there to check signatures, and gpg_verify says not to`,
		`1:39: repository.key[0]: "67172B17" is not a full fingerprint, as gpg --fingerprint prints it: it has 8 hexadecimal digits, want 40 or 64`,
	}},
	{"notify", "notify: [https://hooks.example.org/x, 'arn:aws:sns:eu-central-1:123456789012:t', 'https://me:pw@x/', 'arn:aws:sqs:r:1:q', mail]\n", []string{
		`1:82: notify[2]: this is neither a webhook, https://..., nor the ARN of an SNS topic`,
		`1:102: notify[3]: "arn:aws:sqs:r:1:q" is not the ARN of an SNS topic`,
		`1:123: notify[4]: this is neither a webhook, https://..., nor the ARN of an SNS topic`,
	}},
	{"S3", "aws:\n  endpoint: s3.example.org\n  bucket_owner: 12345\n  role_arn: admin\n  lock: forever\n  retain: \"2001-01-01\"\n  tags: [a]\n  prefix: /x\n  owner: me\nhosts:\n- {addr: a, output: 's3://A_B/x/'}\n- {addr: b, output: 'gs://b/'}\n", []string{
		`2:13: aws.endpoint: "s3.example.org" is not a URL of http or https`,
		`3:17: aws.bucket_owner is a number, want text (in quotes)`,
		`4:13: aws.role_arn: "admin" is not an ARN`,
		`5:9: aws.lock: "forever": want governance or compliance`,
		`6:11: aws.retain: "2001-01-01": that is in the past`,
		`7:9: aws.tags is a list, want a block of keys`,
		`8:11: aws.prefix: "/x": want a prefix such as case-42/`,
		`9:3: unknown key "owner" in aws; known are bucket, prefix, spill, region`,
		`11:21: hosts[0].output: "A_B" is not the name of a bucket`,
		`12:21: hosts[1].output: "gs://b/": want a folder or s3://BUCKET/PREFIX/`,
	}},
	{"S3 together", "aws: {prefix: x/, lock: governance}\n", []string{
		`1:7: aws.prefix is for aws.bucket, and that is missing`,
		`1:19: aws.lock and aws.retain go together`,
	}},
	{"sections", "aws: {bucket: A_B, where: x}\nrepository: {enabled: 1, url: 'ftp://x'}\nlogging: []\n", []string{
		`1:15: aws.bucket: "A_B" is not the name of a bucket`,
		`1:20: unknown key "where" in aws; known are bucket, prefix`,
		`2:23: repository.enabled is a number, want true or false`,
		`2:31: repository.url: "ftp://x" is not a URL of https, http or s3`,
		`3:10: logging is a list, want a block of keys`,
	}},
	{"containment", "defaults: {containment: {targets: i-0123456789abcdef0, gate: later}}\nhosts:\n- {addr: a, containment: {targets: [role/web, web], mode: kill, cut: [all]}}\n- {addr: b, containment: {lock_first: true, untrack_wait: 2h}}\n- {addr: c, containment: {targets: role/web, protect: true}}\n", []string{
		`1:26: defaults.containment.targets: targets belong to a host each`,
		`1:62: defaults.containment.gate: "later": want one of complete, always, never`,
		`3:47: hosts[0].containment.targets[1]: "web" is nothing that can be contained`,
		`3:59: hosts[0].containment.mode: "kill": want one of revoke, deny, strict`,
		`3:71: hosts[0].containment.cut[0]: "all": want one of public-address, nacl-subnet, stop, trust-policy`,
		`4:13: hosts[1].containment has no targets`,
		`4:59: hosts[1].containment.untrack_wait: "2h": want a time from 0s to 1h`,
		`5:27: "role/web" is contained with hosts[0] already`,
		`5:46: unknown key "protect" in hosts[2].containment; known are targets, gate`,
	}},
	{"no map", "- a\n", []string{`1:1: the file is a list, want a block of keys`}},
	{"aliases", "hosts:\n- addr: *x\n- &y {<<: *y, addr: b}\n- {addr: !!str c}\n", []string{
		`2:9: alias *x stands for nothing above`,
		`3:11: blocks merge into themselves`,
		`4:10: tags have no meaning in a hosts file`,
	}},
	{"documents", "hosts: []\n---\nhosts: []\n", []string{`3:1: a second YAML document: a hosts file is one`}},
	{"empty literal", "hosts:\n- addr: |0", []string{`2:3: hosts[0] has no addr`}},
	{"empty", "# nothing\n", []string{`the file is empty: want hosts:`}},
	{"not yaml", "hosts:\n- addr: [a\n", []string{`no valid YAML`}},
	{"deep", strings.Repeat("[", 5000), []string{`nested more than 100 deep: no hosts file is`}},
}

func TestFaults(t *testing.T) {
	for _, tt := range faults {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("hosts.yml", []byte(tt.text), Options{})
			var p Problems
			if !errors.As(err, &p) {
				t.Fatalf("%v is no list of problems", err)
			}
			ok := len(p) == len(tt.want)
			var have []string
			for i, one := range p {
				line, _, _ := strings.Cut(one.Error(), "\n")
				have = append(have, strings.TrimPrefix(strings.TrimPrefix(line, "hosts.yml:"), " "))
				ok = ok && strings.Contains(have[i], tt.want[i])
			}
			if !ok {
				t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestExcerpt(t *testing.T) {
	_, err := Parse("hosts.yml", []byte("hosts:\n- addr: web1\n  porto: 22\n- {addr: \"wéb 2\", password: hunter2, port: x}\n"), Options{})
	want := `hosts.yml:3:3: unknown key "porto" in hosts[0]; is it "port"?
    3 |   porto: ...
      |   ^
hosts.yml:4:10: hosts[1].addr: "wéb 2": the name has characters that no host name has
    4 | - {addr: "wéb 2", password: ***, port: x}
      |          ^
hosts.yml:4:44: hosts[1].port is "x", want a number from 1 to 65535
    4 | - {addr: "wéb 2", password: ***, port: x}
      |                                        ^`
	if d := cmp.Diff(want, fmt.Sprint(err)); d != "" {
		t.Error(d)
	}
	_, err = Parse("h", []byte("hosts:\n- {addr: a,\tpassword: hunter2, 'sudo_password' : \"hunter2\", key: [\n"), Options{})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a fault in the YAML shows a secret: %v", err)
	}
	_, err = Parse("h", []byte("hosts:\n- addr: a\n  pwd: hunter2\n"), Options{})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a misspelt key shows a secret: %v", err)
	}
	for _, text := range []string{
		"notify: [https://hooks.example.org/hunter2, mail]\n", "notify: htps:/hooks.example.org/hunter2\n",
		"repository: {url: 'https://me:hunter2@repo/'}\n", "aws: {endpoint: 'https://me:hunter2@s3'}\n", "aws: {endpoint: 'https://me:hunter2@s3:x:y'}\n",
		"notify: https://hooks.example.org/hunter2\nfoo: 1\n", "notify: [https://hooks.example.org/hunter2], foo: 1\n",
	} {
		if _, err := Parse("h", []byte(text), Options{}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: an address shows a secret: %v", text, err)
		}
	}
	if e := excerpt([]byte(strings.Repeat("x", 500)), 7, 400); len(e) > 300 || !strings.Contains(e, "...") {
		t.Errorf("a long line is not cut: %s", e)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("key", "k", 0o600)
	path := write("hosts.yml", "hosts:\n- {addr: a, key: key, sudo_password: hunter2}\n- {addr: b, password: x}\n", 0o644)
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if f.Hosts[0].Key[0] != filepath.Join(dir, "key") {
		t.Errorf("key %q", f.Hosts[0].Key)
	}
	if runtime.GOOS != "windows" {
		if len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0].Error(), "hosts[0].sudo_password stands here in clear") || strings.Contains(f.Warnings[0].Error(), "hunter2") {
			t.Errorf("warnings %v", f.Warnings)
		}
	}
	if f, err := Load(write("private.yml", "hosts:\n- {addr: a, password: hunter2}\n", 0o600)); err != nil || len(f.Warnings) != 0 {
		t.Errorf("%v, %v", f, err)
	}
	if f, err := Load(write("env.yml", "hosts:\n- {addr: a, password: {env: X}}\n", 0o644)); err != nil || len(f.Warnings) != 0 {
		t.Errorf("%v, %v", f, err)
	}
	_, err = Load(write("missing.yml", "defaults: {key: nokey, module: [key, nomodule]}\n", 0o600))
	if p, _ := errors.AsType[Problems](err); len(p) != 2 || !strings.Contains(p[0].Message, "defaults.key: ") || !strings.Contains(p[1].Message, "defaults.module[1]: ") {
		t.Errorf("missing files: %v", err)
	}
	if f, err := Load(write("logging.yml", "logging: {dir: x, prefix: y}\n", 0o600)); err != nil || f.Logging.Dir != filepath.Join(dir, "x") || f.Logging.Prefix != "y" {
		t.Errorf("a log: %v, %v", f, err)
	}
	if f, err := Load(write("bucket.yml", "aws: {bucket: abc}\n", 0o600)); err != nil || f.AWS.Bucket != "abc" {
		t.Errorf("a bucket: %v, %v", f, err)
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(write("big.yml", strings.Repeat("#\n", maxSize), 0o600)); err == nil {
		t.Error("a huge file passes")
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	count := filepath.Join(dir, "count")
	if err := os.WriteFile(filepath.Join(dir, "s"), []byte("from file\r\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET_OF_A_TEST", "from env")
	f, err := Parse("h", fmt.Appendf(nil, `
hosts:
- {addr: a, password: {file: s}}
- {addr: b, password: {env: SECRET_OF_A_TEST}}
- {addr: c, password: {command: [/bin/sh, -c, 'echo from command; echo x >> %[1]s']}}
- {addr: d, password: {env: NOT_SET_IN_A_TEST}}
- {addr: e, password: {file: none}}
- {addr: f, password: {command: [/bin/sh, -c, 'echo locked >&2; exit 1']}}
- {addr: g, password: "in clear"}
`, count), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]string{0: "from file", 1: "from env", 6: "in clear"} {
		if have := secretText(t, f.Hosts[i].Password); have != want {
			t.Errorf("hosts[%d]: %q, want %q", i, have, want)
		}
	}
	for _, i := range []int{3, 4} {
		if _, err := f.Hosts[i].Password.Func(os.LookupEnv); err == nil {
			t.Errorf("hosts[%d]: a secret from nowhere", i)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	if a, b := secretText(t, f.Hosts[2].Password), secretText(t, f.Hosts[2].Password); a != "from command" || b != a {
		t.Errorf("%q, %q", a, b)
	}
	if n, _ := os.ReadFile(count); string(n) != "x\n" {
		t.Errorf("the command ran %d times", len(n)/2)
	}
	locked, err := f.Hosts[5].Password.Func(os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locked(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("a command that fails: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range faults {
		f.Add([]byte(tt.text))
	}
	for _, name := range []string{"testdata/margarita.yml", "../../docs/hosts.example.yml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("f", data, Options{Dir: "/d", Home: "/h"})
		if err != nil {
			p, ok := errors.AsType[Problems](err)
			if !ok || len(p) == 0 {
				t.Fatalf("%T %v", err, err)
			}
			for _, one := range p {
				if one.Message == "" || one.Line < 0 || one.Line > strings.Count(string(data), "\n")+1 {
					t.Errorf("%+v", one)
				}
			}
			return
		}
		seen := map[string]bool{}
		for i, h := range file.Merged() {
			if len(h.EC2) > 0 {
				if _, err := h.Selectors(); err != nil || h.Addr != "" {
					t.Errorf("host %q of %q: %v", h.Addr, h.EC2, err)
				}
				continue
			}
			name := file.Names()[i]
			if ValidHost(h.Addr) != nil || name == "" || seen[name] {
				t.Errorf("host %q, named %q", h.Addr, name)
			}
			seen[name] = true
		}
	})
}
