package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/transport"
)

const hostsText1 = `
case: from file
workers: 3
defaults:
  username: filer
  port: 2222
  key: key
  passphrase: of the key
  password: login
  known_hosts: known
  module: modules
  labels: {customer: acme}
hosts:
- addr: web1
- addr: 10.0.0.9
  name: db
  username: root
  host_key: ` + printA + `
  sudo_password: {env: JOBS_TEST_SUDO}
  output: db
  filename: db.lime
  module_sha256: 7bee7bee7bee7bee7bee7bee7bee7bee7bee7bee7bee7bee7bee7bee7bee7bee
  labels: {role: database}
  jumps:
  - {addr: j1, username: jumper, key: jumpkey, password: of jumpkey}
  - {addr: j2, host_key: ` + printB + `}
- {addr: web3, proxy_command: nc %h %p}
`

// hostsFolder makes a hosts file and what it names, and returns the folder and the file.
func hostsFolder(t *testing.T, text string) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"key", "jumpkey", "known"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "modules"), 0o700); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "hosts.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOBS_TEST_SUDO", "sudo from env")
	return dir, file
}

func jobSetting(j acquire.Job, name string) [2]string {
	for _, s := range j.Settings {
		if s.Name == name {
			return [2]string{s.Value, s.Origin}
		}
	}
	return [2]string{}
}

func TestJobsOfAFile(t *testing.T) {
	testApp(t)
	dir, file := hostsFolder(t, hostsText1)
	o := mustParse(t, "-c", file, "bob@web4", "web5:22")
	if o.Engine.Case != "from file" || o.Engine.Parallel != 3 || len(o.Warnings) != 0 {
		t.Errorf("case %q, parallel %d, warnings %q", o.Engine.Case, o.Engine.Parallel, o.Warnings)
	}
	if s := settingOf(o, "parallel"); s.Value != "3" || s.Origin != "file "+file {
		t.Errorf("setting: %+v", s)
	}
	key, known := []string{filepath.Join(dir, "key")}, []string{filepath.Join(dir, "known")}
	auth := transport.Auth{KeyFiles: key}
	kh := transport.HostKeyPolicy{KnownHosts: known}
	want := []transport.Target{
		{Name: "web1", User: "filer", Port: 2222, Auth: auth, HostKey: kh},
		{Name: "10.0.0.9", User: "root", Port: 2222, Auth: auth,
			HostKey: transport.HostKeyPolicy{KnownHosts: known, Fingerprints: []string{printA}},
			Jumps: []transport.Target{
				{Name: "j1", User: "jumper", Auth: transport.Auth{KeyFiles: []string{filepath.Join(dir, "jumpkey")}}, HostKey: kh},
				{Name: "j2", HostKey: transport.HostKeyPolicy{KnownHosts: known, Fingerprints: []string{printB}}},
			}},
		{Name: "web3", User: "filer", Port: 2222, Auth: auth, HostKey: kh, ProxyCommand: "nc %h %p"},
		{Name: "web4", User: "bob", Port: 2222, Auth: auth, HostKey: kh},
		{Name: "web5", User: "filer", Port: 22, Auth: auth, HostKey: kh},
	}
	if d := cmp.Diff(want, targetsOf(o), ignoreSecrets, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	web1, db := o.Jobs[0], o.Jobs[1]
	if hostOf(db) != "db" || db.Name != "db.lime" || fmt.Sprint(db.Sink) != filepath.Join(dir, "db") || web1.Sink != nil || web1.Host != "" {
		t.Errorf("%+v", db)
	}
	if d := cmp.Diff(map[string]string{"customer": "acme", "role": "database"}, db.Labels); d != "" {
		t.Error(d)
	}
	if web1.Modules == nil || db.Modules == web1.Modules || o.Jobs[2].Modules != web1.Modules {
		t.Error("hosts with the same modules share a store, others do not")
	}
	for _, s := range []struct{ what, have, want string }{
		{"sudo", secretOf(t, db.SudoPassword), "sudo from env"},
		{"no sudo", secretOf(t, web1.SudoPassword), ""},
		{"password", secretOf(t, web1.Target.Auth.Password), "login"},
		{"passphrase", secretOf(t, web1.Target.Auth.Passphrase), "of the key"},
		{"of the jump host", secretOf(t, db.Target.Jumps[0].Auth.Passphrase), "of jumpkey"},
		{"for the jump host", secretOf(t, db.Target.Jumps[0].Auth.Password), ""},
		{"for the other", secretOf(t, db.Target.Jumps[1].Auth.Password), ""},
	} {
		if s.have != s.want {
			t.Errorf("%s: %q, want %q", s.what, s.have, s.want)
		}
	}
	if _, ok := os.LookupEnv("JOBS_TEST_SUDO"); ok {
		t.Error("a secret of the file stays in the environment")
	}
	for name, want := range map[string][2]string{
		"user":          {"root", "file " + file},
		"output":        {filepath.Join(dir, "db"), "file " + file},
		"jump":          {"j1,j2", "file " + file},
		"sudo-password": {secretValue, "file " + file},
		"case":          {"from file", "file " + file},
		"compress":      {"zstd", "default"},
	} {
		if have := jobSetting(db, name); have != want {
			t.Errorf("setting %s: %q, want %q", name, have, want)
		}
	}
	if have := jobSetting(o.Jobs[3], "user"); have != [2]string{"bob", "argument"} {
		t.Errorf("setting of an argument: %q", have)
	}
	if have := jobSetting(web1, "output"); have != [2]string{".", "default"} {
		t.Errorf("one host's settings show in another's: %q", have)
	}
}

// TestFlagsOutweighTheFile: a flag, or its variable, goes before what the file says.
func TestFlagsOutweighTheFile(t *testing.T) {
	testApp(t)
	dir, file := hostsFolder(t, hostsText1)
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("from flag\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHOTGLASS_USER", "from-env")
	t.Setenv("SHOTGLASS_KEY_PASSPHRASE", "passphrase from env")
	o := mustParse(t, "-c", file, "--case", "flag", "--parallel", "7", "-p", "22", "-i", secret, "-J", "other", "-o", dir, "--known-hosts", secret,
		"--host-key", "db="+printB, "--sudo-password-file", secret, "--password-file", secret, "--module", filepath.Join(dir, "modules"), "bob@web4")
	if o.Engine.Case != "flag" || o.Engine.Parallel != 7 {
		t.Errorf("case %q, parallel %d", o.Engine.Case, o.Engine.Parallel)
	}
	db := o.Jobs[1]
	for _, j := range o.Jobs[:3] {
		if d := j.Target; d.User != "from-env" || d.Port != 22 || d.Auth.KeyFiles[0] != secret || len(d.Jumps) != 1 || d.Jumps[0].Name != "other" ||
			d.ProxyCommand != "" || d.HostKey.KnownHosts[0] != secret || j.Sink != nil || j.SudoPassword != nil {
			t.Errorf("%+v", j)
		}
		if p, s := secretOf(t, j.Target.Auth.Password), secretOf(t, j.Target.Auth.Passphrase); p != "from flag" || s != "passphrase from env" {
			t.Errorf("password %q, passphrase %q", p, s)
		}
	}
	if secretOf(t, o.Engine.SudoPassword) != "from flag" {
		t.Error("the sudo password of the flag is not there")
	}
	if d := cmp.Diff([]string{printB}, db.Target.HostKey.Fingerprints); d != "" {
		t.Error(d)
	}
	if u := o.Jobs[3].Target.User; u != "bob" {
		t.Errorf("user of an argument: %q", u)
	}
	if have := jobSetting(db, "user"); have != [2]string{"from-env", "env SHOTGLASS_USER"} {
		t.Errorf("setting: %q", have)
	}
	if have := jobSetting(db, "output"); have != [2]string{dir, "flag"} {
		t.Errorf("setting: %q", have)
	}
}

func TestMemoryBudget(t *testing.T) {
	testApp(t)
	if o := mustParse(t, "web1"); o.Engine.MemoryBudget < 1<<20 || settingOf(o, "memory-budget").Value != fmt.Sprint(o.Engine.MemoryBudget) {
		t.Errorf("budget %d, setting %+v", o.Engine.MemoryBudget, settingOf(o, "memory-budget"))
	}
	for text, want := range map[string]int64{"1": 1, "1024": 1024, "512MiB": 512 << 20, "1.5G": 3 << 29, "2 gb": 2 << 30, "1k": 1024} {
		if n, err := parseSize(text); n != want || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "b", "-1", "0", "NaN", "inf", "1e40", "GiB", "1x"} {
		if n, err := parseSize(text); err == nil {
			t.Errorf("%q passes as %d", text, n)
		}
	}
}

func TestOneNameTwice(t *testing.T) {
	testApp(t)
	_, file := hostsFolder(t, hostsText1)
	for _, args := range [][]string{
		{"-c", file, "web1"},
		{"-c", file, "DB"},
		{"-c", file, "--name", "x"},
		{"-c", file, "--host-key", "web9=" + printA},
		{"-c", file + ".none"},
		{"--memory-budget", "x", "web1"},
	} {
		if _, err := parse(t, args...); exitCode(err) != exitUsage || len(hints(err)) == 0 {
			t.Errorf("%q: %v", args, err)
		}
		t.Setenv("JOBS_TEST_SUDO", "again")
	}
}

// TestHostsFileBucket: Margarita's aws.bucket is where images go, unless a flag or
// the host itself says otherwise.
func TestHostsFileBucket(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", "none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	dir, file := hostsFolder(t, "aws:\n  bucket: memory-dumps\nhosts:\n- addr: web1\n- {addr: web2, output: here}\n")
	region := []string{"--unsigned", "--s3-region", "eu-west-1", "-c", file}
	o := mustParse(t, region...)
	if got := fmt.Sprint(o.Engine.Sink); got != "s3://memory-dumps/" {
		t.Errorf("sink %s", got)
	}
	if s := settingOf(o, "to"); s.Value != "s3://memory-dumps/" || s.Origin != "file "+file {
		t.Errorf("setting %+v", s)
	}
	if got := fmt.Sprint(o.Jobs[1].Sink); o.Jobs[0].Sink != nil || got != filepath.Join(dir, "here") {
		t.Errorf("web1 to %v, web2 to %s", o.Jobs[0].Sink, got)
	}
	if got := fmt.Sprint(mustParse(t, append(region, "--to", "s3://other/x/")...).Engine.Sink); got != "s3://other/x/" {
		t.Errorf("with --to: %s", got)
	}
	if got := fmt.Sprint(mustParse(t, "--unsigned", "-c", file, "--output", dir).Engine.Sink); got != dir {
		t.Errorf("with --output: %s", got)
	}
}

// TestHostsFileS3: the section aws says all that the flags of S3 say, a flag outweighs each of its keys,
// and a host can have a bucket of its own.
func TestHostsFileS3(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", "none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	dir, file := hostsFolder(t, `aws:
  bucket: evidence
  prefix: case-42/
  spill: later
  region: eu-west-1
  endpoint: https://s3.example.org
  path_style: true
  role_arn: arn:aws:iam::123456789012:role/evidence
  external_id: x1
  bucket_owner: "123456789012"
  kms_key: alias/evidence
  storage_class: STANDARD_IA
  tags: {team: ir, case: "42"}
  lock: governance
  retain: 90d
  legal_hold: true
hosts:
- addr: web1
- {addr: web2, output: "s3://other/prefix/"}
`)
	o := mustParse(t, "--unsigned", "-c", file, "--s3-kms-key", "alias/mine", "--s3-lock", "compliance", "--s3-retain", "1d")
	if got := fmt.Sprint(o.Engine.Sink, o.Jobs[1].Sink); got != "s3://evidence/case-42/ s3://other/prefix/" {
		t.Errorf("sinks %s", got)
	}
	from := "file " + file
	for name, want := range map[string][2]string{
		"to": {"s3://evidence/case-42/", from}, "spill": {filepath.Join(dir, "later"), from}, "s3-region": {"eu-west-1", from},
		"s3-endpoint": {"https://s3.example.org", from}, "s3-path-style": {"true", from}, "s3-external-id": {"x1", from},
		"s3-bucket-owner": {"123456789012", from}, "s3-storage-class": {"STANDARD_IA", from}, "s3-tag": {"case=42\nteam=ir", from},
		"s3-legal-hold": {"true", from}, "s3-kms-key": {"alias/mine", "flag"}, "s3-lock": {"compliance", "flag"}, "s3-retain": {"1d", "flag"},
	} {
		if s := settingOf(o, name); s.Value != want[0] || s.Origin != want[1] {
			t.Errorf("%s: %+v", name, s)
		}
	}
	terms := o.terms
	if terms.KMSKey != "alias/mine" || terms.LockMode != "COMPLIANCE" || terms.RetainFor != 24*time.Hour || terms.Tags["case"] != "42" || terms.Tags["team"] != "ir" ||
		!terms.PathStyle || terms.Endpoint != "https://s3.example.org" || terms.BucketOwner != "123456789012" || !terms.LegalHold {
		t.Errorf("terms %+v", terms)
	}
	// A flag that names a place for all outweighs that of a host.
	if o := mustParse(t, "--unsigned", "-c", file, "--output", dir); o.Jobs[1].Sink != nil || fmt.Sprint(o.Engine.Sink) != dir {
		t.Errorf("with --output: %v, %v", o.Engine.Sink, o.Jobs[1].Sink)
	}
	// Only a host is in S3: the flags of S3 are for it.
	_, one := hostsFolder(t, "hosts:\n- addr: web1\n- {addr: web2, output: \"s3://other/\"}\n")
	o = mustParse(t, "--unsigned", "-c", one, "--s3-region", "eu-west-1", "--s3-storage-class", "STANDARD_IA")
	if got := fmt.Sprint(o.Jobs[1].Sink); got != "s3://other/" {
		t.Errorf("sink %s", got)
	}
}

// TestConnections: a host's number outweighs that of the defaults, auto too, and a flag both.
func TestConnections(t *testing.T) {
	testApp(t)
	_, file := hostsFolder(t, "defaults: {connections: 4}\nhosts:\n- {addr: a, connections: 2}\n- {addr: b, connections: auto}\n- addr: c\n")
	o := mustParse(t, "-c", file)
	if a, b, c := o.Jobs[0].Connections, o.Jobs[1].Connections, o.Jobs[2].Connections; a != 2 || b != acquire.AutoConnections || c != 4 {
		t.Errorf("%d, %d, %d", a, b, c)
	}
	if s := jobSetting(o.Jobs[0], "connections"); s != [2]string{"2", "file " + file} {
		t.Errorf("%q", s)
	}
	o = mustParse(t, "-c", file, "--connections", "7")
	if o.Engine.Connections != 7 || o.Jobs[0].Connections != 0 || o.Jobs[1].Connections != 0 {
		t.Errorf("%d, %d, %d", o.Engine.Connections, o.Jobs[0].Connections, o.Jobs[1].Connections)
	}
}

// TestCompressOnTarget: what a host allows outweighs the defaults, and a flag both.
func TestCompressOnTarget(t *testing.T) {
	testApp(t)
	_, file := hostsFolder(t, "defaults: {compress_on_target: auto}\nhosts:\n- {addr: a, compress_on_target: off}\n- addr: b\n")
	o := mustParse(t, "-c", file)
	if a, b := o.Jobs[0].CompressOnTarget, o.Jobs[1].CompressOnTarget; a != "off" || b != "auto" || o.Engine.CompressOnTarget != "off" {
		t.Errorf("%q, %q, %q", a, b, o.Engine.CompressOnTarget)
	}
	if s := jobSetting(o.Jobs[1], "compress-on-target"); s != [2]string{"auto", "file " + file} {
		t.Errorf("%q", s)
	}
	o = mustParse(t, "-c", file, "--compress-on-target", "lz4", "--min-rate", "off")
	if o.Engine.CompressOnTarget != "lz4" || o.Jobs[0].CompressOnTarget != "" || o.Engine.LeastRate != -1 {
		t.Errorf("%q, %q, %d", o.Engine.CompressOnTarget, o.Jobs[0].CompressOnTarget, o.Engine.LeastRate)
	}
}

// TestLimits: a rate of the file holds where no flag outweighs it, and the manifest says whence.
func TestLimits(t *testing.T) {
	testApp(t)
	_, file := hostsFolder(t, "limit_total_rate: 80MB/s\ndefaults: {limit_rate: 20MB/s}\nhosts:\n- {addr: a, limit_rate: 1MiB/s}\n- addr: b\n")
	o := mustParse(t, "-c", file)
	if o.Engine.LimitTotalRate != 80e6 || o.Jobs[0].LimitRate != 1<<20 || o.Jobs[1].LimitRate != 20e6 {
		t.Errorf("%d, %d, %d", o.Engine.LimitTotalRate, o.Jobs[0].LimitRate, o.Jobs[1].LimitRate)
	}
	if s := jobSetting(o.Jobs[0], "limit-rate"); s != [2]string{"1MiB/s", "file " + file} {
		t.Errorf("%q", s)
	}
	if s := jobSetting(o.Jobs[0], "limit-total-rate"); s != [2]string{"80MB/s", "file " + file} {
		t.Errorf("%q", s)
	}
	o = mustParse(t, "-c", file, "--limit-rate", "5MB", "--limit-total-rate", "6MB")
	if o.Engine.LimitTotalRate != 6e6 || o.Engine.LimitRate != 5e6 || o.Jobs[0].LimitRate != 0 {
		t.Errorf("%d, %d, %d", o.Engine.LimitTotalRate, o.Engine.LimitRate, o.Jobs[0].LimitRate)
	}
	if s := jobSetting(o.Jobs[0], "limit-rate"); s != [2]string{"5MB", "flag"} {
		t.Errorf("%q", s)
	}
}
