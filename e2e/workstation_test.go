//go:build e2e

package e2e

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/goccy/go-yaml"

	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// The script of an analysis instance's first boot, as the template has it, on Debian: real udev, systemd, NVMe, FUSE, AWS CLI, pip; a real S3 server under the name of Amazon's, and the
// instance's role from a stand-in at the address of EC2's metadata. shotglass is this one; the wheel is one of the test, since Volatility's take pip minutes here. Then a
// disk appears that is the machine's own, bit for bit, but that its journal would be replayed: it is not changed, also by a start of Linux that finds it before its own.
func TestWorkstationFirstBoot(t *testing.T) {
	t.Parallel()
	l, err := parts.Workstation()
	if err != nil {
		t.Fatal(err)
	}
	store, err := parts.StartS3(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	dir := t.TempDir()
	own, twin := filepath.Join(dir, "own.raw"), filepath.Join(dir, "twin.raw")
	for _, disk := range []string{own, twin} {
		command(t, "cp", "--sparse=always", l.Disk(), disk)
	}
	command(t, "debugfs", "-w", "-R", "feature needs_recovery", twin+"?offset=9437184")
	before := sha256File(t, twin)

	case42 := &bucketCase{T: t, store: store}
	case42.put("web1-mem.lime", smallImage())
	case42.put("db-1-mem.lime.age", []byte("only its name is looked at"))
	sums := case42.tool("shotglass", fileBytes(t, program)) + case42.tool("volatility3-0-py3-none-any.whl", smallWheel(t))

	w := &workstationGuest{T: t, lab: l, own: own, store: store, metadata: metadata(t, store)}
	slots.take(t)
	w.boot("root=UUID=5f7c5e7c-0f0b-4b0e-9d0a-5c1f2b3d4e5f ro")
	w.network()
	w.write("/root/user-data", firstBootScript(t, sums))
	// cloud-init runs it so, without a HOME, and with its output there. Debian's AWS CLI asks no bundle of the system.
	w.ssh("env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin AWS_CA_BUNDLE=/root/ca.pem bash /root/user-data < /dev/null > /var/log/cloud-init-output.log 2>&1 || true")
	w.says("cat /opt/tools/STATUS /opt/tools/BOOT", "tools: installed, all with their digests\n", "boot: Linux finds its root by an identifier of its own")
	w.says("/opt/volatility/bin/vol; vol", "the wheel's program\nthe wheel's program\n")

	if err := w.guest.Attach(t.Context(), "twin", twin); err != nil {
		t.Fatal(err)
	}
	w.eventually("the disk's partitions are there", "test -b /dev/nvme1n1p1 && test -b /dev/nvme1n1p15 && udevadm settle")
	w.mounted("nvme0n1", "nvme1n1")

	// The power is cut. Linux then finds the other disk first.
	args := strings.TrimSpace(w.ssh("sync; sed -n 's/^options //p' /boot/loader/entries/lab.conf"))
	if !strings.HasPrefix(args, "root=PARTUUID=") {
		t.Fatalf("the kernel's command line: %s", args)
	}
	w.guest.Close()
	w.boot(args, twin)
	w.says("cat /sys/block/nvme1n1/device/serial; findmnt /boot/efi || echo nothing else", "own", "nothing else")
	w.mounted("nvme1n1", "nvme0n1")
	w.guest.Close()
	if after := sha256File(t, twin); after != before {
		t.Error("the disk under examination was changed")
	}
}

// mounted fails unless all is as it should be, with the machine on one disk and evidence on the other.
func (w *workstationGuest) mounted(own, other string) {
	w.Helper()
	w.says("findmnt -no SOURCE /; readlink /dev/disk/by-uuid/5f7c5e7c-0f0b-4b0e-9d0a-5c1f2b3d4e5f", "/dev/"+own+"p1\n../../"+own+"p1\n")
	w.says(fmt.Sprintf("for d in %[1]s %[1]sp1 %[1]sp15; do blockdev --getro /dev/$d; udevadm info -q property /dev/$d | grep -E '^(ID_FS_|UDISKS_IGNORE)'; done", other), "1\nUDISKS_IGNORE=1\n1\nUDISKS_IGNORE=1\n1\nUDISKS_IGNORE=1\n")
	w.says("shotglass-case-mounts; cat /case/README", "/case/web1-mem.lime: unvouched\n", "/case/db-1-mem.lime.age is NOT mounted: unvouched, encrypted. With the identity in a file: sudo shotglass mount --allow-other --identity FILE s3://evidence/case-42/db-1-mem.lime.age /case/db-1-mem.lime.age\n")
	w.says("findmnt -no OPTIONS /evidence/"+other+"p1 | tr , '\n' | grep -xE 'ro|norecovery|noload|nosuid|nodev|noexec' | sort -u | tr '\n' ' '", "nodev noexec ", "nosuid ro ")
	w.says("/evidence/"+other+"p1/usr/bin/true 2>&1 || echo no", "Permission denied\nno\n")
	w.says("su ops -c 'sha256sum /case/web1-mem.lime/web1-mem.lime'", hexSum(smallImage()))
	w.says("touch /case/web1-mem.lime/x 2>&1 || systemctl is-active 'shotglass-image@web1\\x2dmem.lime.service'", "Read-only file system\nactive\n")
}

type workstationGuest struct {
	*testing.T
	lab      *lab.Lab
	guest    *lab.Guest
	own      string
	store    *lab.S3
	metadata string // port of the stand-in
}

// boot starts Linux with a command line.
func (w *workstationGuest) boot(args string, others ...string) {
	w.Helper()
	g, err := w.lab.Boot(w.Context(), lab.Options{MemoryMiB: 256, Disk: w.own, Others: others, Loopback: true, KernelArgs: args})
	if err != nil {
		w.Fatal(err)
	}
	w.guest = g
	w.Cleanup(func() {
		if w.Failed() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			log, err := g.SSH(ctx, "root", "cat /var/log/cloud-init-output.log; journalctl --no-pager -n 60")
			w.Logf("the guest's logs (%v):\n%s", err, log)
			w.Logf("console:\n%s", g.ConsoleLog())
		}
		g.Close()
	})
}

// network lets the guest reach the two servers under the names that they have on EC2, and nothing else.
func (w *workstationGuest) network() {
	_, port, err := net.SplitHostPort(strings.TrimPrefix(w.store.Endpoint, "https://"))
	if err != nil {
		w.Fatal(err)
	}
	w.write("/etc/nftables.conf", fmt.Sprintf(`table ip lab {
	chain names { type nat hook output priority -100
		ip daddr 169.254.169.254 tcp dport 80 dnat to 10.0.2.2:%s
		ip daddr 10.0.2.99 tcp dport 443 dnat to 10.0.2.2:%s
	}
	chain only { type filter hook output priority 0; policy drop
		ip daddr { 127.0.0.0/8, 10.0.2.0/24 } accept
	}
}
`, w.metadata, port))
	w.write("/root/ca.pem", string(fileBytes(w.T, w.store.CA)))
	w.ssh("cat /root/ca.pem >> /etc/ssl/certs/ca-certificates.crt; echo 10.0.2.99 evidence.s3.us-east-1.amazonaws.com >> /etc/hosts; systemctl enable -q --now nftables")
}

func (w *workstationGuest) write(name, text string) {
	w.Helper()
	w.ssh("cat > " + name + " <<'END OF FILE'\n" + text + "\nEND OF FILE")
}

func (w *workstationGuest) ssh(script string) string {
	w.Helper()
	out, err := w.guest.SSH(w.Context(), "root", script)
	if err != nil {
		w.Fatalf("%v\n%s", err, out)
	}
	return out
}

// says fails unless a script's output has all of want.
func (w *workstationGuest) says(script string, want ...string) {
	w.Helper()
	out := w.ssh(script)
	for _, text := range want {
		if !strings.Contains(out, text) {
			w.Errorf("%s: no %q in\n%s", script, text, out)
		}
	}
}

func (w *workstationGuest) eventually(what, script string) {
	w.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(300 * time.Millisecond) {
		if _, err := w.guest.SSH(w.Context(), "root", script); err == nil {
			return
		} else if time.Now().After(end) {
			w.Fatalf("not within a minute: %s: %v", what, err)
		}
	}
}

type bucketCase struct {
	*testing.T
	store *lab.S3
}

func (b *bucketCase) put(name string, data []byte) {
	b.Helper()
	got(b.store.Client.PutObject(b.Context(), &awss3.PutObjectInput{Bucket: &b.store.Bucket, Key: aws.String("case-42/" + name), Body: bytes.NewReader(data)}))(b.T)
}

// tool stores a tool as workstation create does, and returns its line of sha256sum.
func (b *bucketCase) tool(name string, data []byte) string {
	b.Helper()
	b.put("tools/"+hexSum(data)+"-"+name, data)
	return hexSum(data) + "  " + name + "\n"
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func fileBytes(t *testing.T, name string) []byte {
	t.Helper()
	return got(os.ReadFile(name))(t)
}

func command(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// smallImage is a LiME image of 64 KiB.
func smallImage() []byte {
	return append(lime.AppendHeader(nil, lime.Range{Start: 0x1000, End: 0x10fff}), bytes.Repeat([]byte("memory! "), 8192)...)
}

// smallWheel is a wheel whose program has Volatility's name.
func smallWheel(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{
		"wheel.py":                                 "def main(): print(\"the wheel's program\")\n",
		"volatility3-0.dist-info/METADATA":         "Metadata-Version: 2.1\nName: volatility3\nVersion: 0\n",
		"volatility3-0.dist-info/WHEEL":            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		"volatility3-0.dist-info/entry_points.txt": "[console_scripts]\nvol = wheel:main\n",
		"volatility3-0.dist-info/RECORD":           "wheel.py,,\nvolatility3-0.dist-info/METADATA,,\nvolatility3-0.dist-info/WHEEL,,\nvolatility3-0.dist-info/entry_points.txt,,\nvolatility3-0.dist-info/RECORD,,\n",
	} {
		f := got(z.Create(name))(t)
		got(f.Write([]byte(text)))(t)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// firstBootScript is what the template has, with CloudFormation's values in it.
func firstBootScript(t *testing.T, sums string) string {
	t.Helper()
	out := got(exec.Command(program, "workstation", "create", "--template").Output())(t)
	_, text, _ := strings.Cut(string(out), "\n  Instance:\n")
	text, _, _ = strings.Cut(text, "\n  Volume1:\n")
	var i struct {
		Properties struct {
			UserData map[string]map[string]string `yaml:"UserData"`
		} `yaml:"Properties"`
	}
	if err := yaml.Unmarshal([]byte(text), &i); err != nil {
		t.Fatal(err)
	}
	script := i.Properties.UserData["Fn::Base64"]["Fn::Sub"]
	script = strings.NewReplacer("${ToolSums}", sums, "${Bucket}", "evidence", "${Prefix}", "case-42/", "${AWS::Region}", "us-east-1").Replace(script)
	if !strings.HasPrefix(script, "#!/bin/bash\n") || strings.Contains(script, "${") {
		t.Fatalf("not a script: %.80q", script)
	}
	return script
}

// metadata stands in for EC2's instance metadata: a role's credentials, for who has a token. It returns its port.
func metadata(t *testing.T, store *lab.S3) string {
	access, secret := store.Credentials()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const token, role = "a-token", "/latest/meta-data/iam/security-credentials/"
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			fmt.Fprint(w, token)
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != token:
			http.Error(w, "", http.StatusUnauthorized)
		case r.URL.Path == role:
			fmt.Fprint(w, "case")
		case r.URL.Path == role+"case":
			json.NewEncoder(w).Encode(map[string]string{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": access, "SecretAccessKey": secret, "Token": "", "LastUpdated": time.Now().UTC().Format(time.RFC3339), "Expiration": time.Now().Add(6 * time.Hour).UTC().Format(time.RFC3339)})
		case r.URL.Path == "/latest/meta-data/placement/region":
			fmt.Fprint(w, "us-east-1")
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	return port
}
