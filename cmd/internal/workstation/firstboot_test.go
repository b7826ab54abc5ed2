package workstation_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/shotglass-ir/shotglass/cmd/internal/workstation"
)

// A machine is a folder that the script of the first boot takes for the root of its filesystem, with stand-ins for the programs that would
// touch real disks or AWS. Its own disk is nvme0n1; nvme1n1 is a snapshot's, with an ext4, an XFS and LVM.
type machine struct {
	*testing.T
	root string
}

var standIns = map[string]string{
	"findmnt":    `[ -e $R/lost ] && exit 1; case $2 in SOURCE) echo /dev/nvme0n1p1;; FSTYPE) echo xfs;; --source) grep -qxF "$3" $R/used 2>/dev/null;; esac`,
	"blockdev":   `n=$(basename "$2"); case $1 in --setro) [ -e $R/stuck ] && exit 1; touch $R/ro/$n;; --getro) [ -e $R/ro/$n ] && echo 1 || echo 0;; esac`,
	"blkid":      `f=$R/fs/$(basename "$6"); [ -e $f ] || exit 2; if [ $3 = TYPE ]; then cut -d' ' -f1 $f; else cut -d' ' -f2 $f; fi`,
	"sfdisk":     `[ -e $R/nogpt ] && exit 1; [ "$1" = --no-reread ] && shift && echo "$4" > $R/partuuid; [ "$1 $2 $3" = "--part-uuid /dev/nvme0n1 1" ] && tr a-f A-F < $R/partuuid`,
	"mount":      `echo "$@" >> $R/mounts`,
	"mountpoint": `grep -qxF "$2" $R/mounted 2>/dev/null`,
	"udevadm":    `exit 0`,
	"umount":     `sed -i "\#^$1\$#d" $R/mounted`,
	"sysctl":     `cp "$3" $R/sysctl`,
	"sync":       `cp $R/etc/fstab $R/synced`,
	"systemctl": `case "$*" in
-q\ is-active*) grep -qxF -- "$3" $R/started 2>/dev/null; exit;;
start\ shotglass-volumes.service) [ ! -e $R/hung ] || exit 124; bash $R/usr/local/sbin/mount-evidence > $R/run/shotglass-volumes 2>&1; exit;;
esac
echo "$*" >> $R/systemctl; [ "$1" != start ] || { [ ! -e $R/unmountable ] && echo "$2" >> $R/started; }`,
	"systemd-escape": `echo "${1#--template=}" | sed "s,@,@$3,"`,
	"aws":            `cp "$R/bucket/$(basename "$4")" "$5"`,
	"python3":        `mkdir -p "$3/bin"; printf '#!/bin/bash\n[ -e '$R'/nopip ] && exit 1; touch '"$3"'/bin/vol; chmod 755 '"$3"'/bin/vol\n' > "$3/bin/pip"; chmod 755 "$3/bin/pip"`,
}

func newMachine(t *testing.T) *machine {
	m := &machine{t, t.TempDir()}
	for name, text := range standIns {
		m.write("bin/"+name, "#!/bin/bash\nR="+m.root+"\n"+text+"\n")
	}
	for _, dir := range []string{"ro", "etc/udev/rules.d", "etc/sysctl.d", "etc/systemd/system", "etc/profile.d", "usr/local/sbin", "usr/local/bin", "usr/bin", "run", "sys/class/block"} {
		m.must(os.MkdirAll(m.at(dir), 0o755))
	}
	for _, d := range []string{"nvme0/nvme0n1", "nvme0/nvme0n1/nvme0n1p1", "nvme1/nvme1n1", "nvme1/nvme1n1/nvme1n1p1", "nvme1/nvme1n1/nvme1n1p2", "nvme1/nvme1n1/nvme1n1p3"} {
		m.must(os.MkdirAll(m.at("devices/"+d), 0o755))
		if name := filepath.Base(d); strings.Contains(name, "p") {
			m.write("devices/"+d+"/partition", name[len(name)-1:])
		}
		m.must(os.Symlink(m.at("devices/"+d), m.at("sys/class/block/"+filepath.Base(d))))
	}
	for name, fs := range map[string]string{"nvme0n1p1": "xfs", "nvme1n1p1": "ext4", "nvme1n1p2": "xfs", "nvme1n1p3": "LVM2_member"} {
		m.write("fs/"+name, fs+"\n")
	}
	return m
}

func (m *machine) at(name string) string { return filepath.Join(m.root, name) }

func (m *machine) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (m *machine) write(name, text string) {
	m.Helper()
	m.must(os.MkdirAll(filepath.Dir(m.at(name)), 0o755))
	m.must(os.WriteFile(m.at(name), []byte(text), 0o755))
}

func (m *machine) read(name string) string {
	b, err := os.ReadFile(m.at(name))
	if err != nil {
		return ""
	}
	return string(b)
}

// tools puts files into the bucket and returns their sums.
func (m *machine) tools(names ...string) (sums string) {
	for _, n := range names {
		sum := fmt.Sprintf("%x", sha256.Sum256([]byte(n)))
		m.write("bucket/"+sum+"-"+n, n)
		sums += sum + "  " + n + "\n"
	}
	return sums
}

// run runs a program of the machine, or with no name the first boot's script.
func (m *machine) run(args ...string) (out string, ok bool) {
	m.Helper()
	cmd := exec.CommandContext(m.Context(), "bash", args...)
	cmd.Env = []string{"PATH=" + m.at("bin") + ":" + os.Getenv("PATH")}
	b, err := cmd.CombinedOutput()
	return string(b), err == nil
}

// script is the first boot's, as CloudFormation hands it over.
func (m *machine) script(sums string) string {
	m.Helper()
	var t struct {
		Resources map[string]struct {
			Properties struct {
				UserData map[string]map[string]string `yaml:"UserData"`
			} `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	text := workstation.Template[strings.Index(workstation.Template, "\nResources:"):]
	instance := text[strings.Index(text, "\n  Instance:"):strings.Index(text, "\n  Volume1:")]
	m.must(yaml.Unmarshal([]byte("Resources:"+instance), &t))
	script := t.Resources["Instance"].Properties.UserData["Fn::Base64"]["Fn::Sub"]
	script = strings.NewReplacer("${ToolSums}", sums, "${Bucket}", "evidence", "${Prefix}", "case-42/", "${AWS::Region}", "eu-west-1").Replace(script)
	if v := regexp.MustCompile(`\$\{[^}]*\}`).FindString(script); v != "" || !strings.HasPrefix(script, "#!/bin/bash\n") {
		m.Fatalf("CloudFormation would look for a parameter %s in %.40q", v, script)
	}
	return script
}

// boot runs the script that the template has, as it is but for the places of files.
func (m *machine) boot(sums string) {
	m.Helper()
	script := m.script(sums)
	pairs := []string{}
	for _, dir := range []string{"/usr/local/", "/usr/bin/", "/etc/", "/sys/class/", "/run/", "/opt/", "/evidence", "/case", "/boot/"} {
		pairs = append(pairs, " "+dir, " "+m.root+dir, "\""+dir, "\""+m.root+dir, "="+dir, "="+m.root+dir)
	}
	script = strings.NewReplacer(pairs...).Replace(script)
	m.write("script", script)
	if out, ok := m.run(m.at("script")); !ok {
		m.Fatal(out)
	}
}

func TestFirstBoot(t *testing.T) {
	m := newMachine(t)
	m.boot(m.tools("shotglass", "volatility3-2.whl"))
	if s := m.read("opt/tools/STATUS"); s != "tools: installed, all with their digests\n" || m.read("usr/bin/shotglass") != "shotglass" {
		t.Error(s)
	}
	if _, err := os.Stat(m.at("usr/bin/vol")); err != nil {
		t.Error(err)
	}
	if e := m.read("etc/environment"); !strings.Contains(e, "AWS_REGION=eu-west-1\n") {
		t.Error(e)
	}
	set, err := os.ReadDir(m.at("ro"))
	if err != nil || len(set) != 4 || set[0].Name() != "nvme1n1" { // the disk and its three partitions, and none of the machine's own
		t.Errorf("read-only: %v, %v", set, err)
	}
	out, ok := m.run(m.at("usr/bin/mount-evidence"))
	if ok || !strings.Contains(out, "/dev/nvme1n1p3 is LVM2_member: not mounted") {
		t.Errorf("%v %s", ok, out)
	}
	if have := m.read("mounts"); strings.Count(have, "\n") != 2 || !strings.Contains(have, "-o ro,noload,nodev,nosuid,noexec /dev/nvme1n1p1 ") || !strings.Contains(have, "-o ro,norecovery,nouuid,nodev,nosuid,noexec /dev/nvme1n1p2 ") {
		t.Error(have)
	}
}

// A disk that is not read-only, or that could be the machine's own, keeps all others from being mounted.
func TestFirstBootNotReadOnly(t *testing.T) {
	for how, want := range map[string]string{"lost": "could not be told", "stuck": "blockdev could not set it"} {
		m := newMachine(t)
		m.write(how, "")
		m.boot("")
		if s := m.read("run/evidence-ro.failed"); !strings.Contains(s, "/dev/nvme1n1p1 was NOT set read-only in time: ") || !strings.Contains(s, want) {
			t.Errorf("%s: %q", how, s)
		}
		if out, ok := m.run(m.at("usr/bin/mount-evidence")); ok || !strings.Contains(out, "nothing is mounted") || m.read("mounts") != "" {
			t.Errorf("%s: %v %s", how, ok, out)
		}
	}
	for how, spoil := range map[string]func(*machine){
		"mounted": func(m *machine) { m.write("used", "/dev/nvme1n1p1\n") },
		"held":    func(m *machine) { m.write("devices/nvme1/nvme1n1/nvme1n1p1/holders/dm-0", "") },
	} {
		m := newMachine(t)
		spoil(m)
		m.boot("")
		if s := m.read("run/evidence-ro.failed"); s != "/dev/nvme1n1p1 was NOT set read-only in time: it is by now, and was in use before: it may have been changed\n" {
			t.Errorf("%s: %q", how, s)
		}
		if out, ok := m.run(m.at("usr/bin/mount-evidence")); ok || !strings.Contains(out, "nothing is mounted") || m.read("mounts") != "" {
			t.Errorf("%s: %v %s", how, ok, out)
		}
		m.must(os.Remove(m.at("run/evidence-ro.failed"))) // what is mounted read-only since is no news
		m.run(m.at("usr/local/sbin/evidence-ro"), "nvme1n1p1")
		if s := m.read("run/evidence-ro.failed"); s != "" {
			t.Errorf("%s, again: %q", how, s)
		}
	}
	m := newMachine(t) // a path of NVMe's own multipath, which has no device
	m.write("stuck", "")
	m.must(os.RemoveAll(m.at("devices/nvme1")))
	for _, d := range []string{"nvme1n1", "nvme1n1p1", "nvme1n1p2", "nvme1n1p3"} {
		m.must(os.Remove(m.at("sys/class/block/" + d)))
	}
	m.write("sys/class/block/nvme2c2n1/hidden", "1\n")
	m.boot("")
	if out, ok := m.run(m.at("usr/bin/mount-evidence")); !ok || m.read("run/evidence-ro.failed") != "" {
		t.Errorf("hidden: %v %s %s", ok, out, m.read("run/evidence-ro.failed"))
	}
	m = newMachine(t) // one that appeared later, and that no rule saw
	m.boot("")
	m.must(os.Remove(m.at("ro/nvme1n1p1")))
	if out, ok := m.run(m.at("usr/bin/mount-evidence")); ok || !strings.Contains(out, "/dev/nvme1n1p1 is NOT read-only: not mounted") || strings.Contains(m.read("mounts"), "nvme1n1p1 ") {
		t.Errorf("%v %s", ok, out)
	}
}

func TestFirstBootTools(t *testing.T) {
	m := newMachine(t)
	m.boot("")
	if s := m.read("opt/tools/STATUS"); s != "tools: none were given\n" {
		t.Error(s)
	}
	m = newMachine(t)
	m.write("nopip", "")
	m.boot(m.tools("shotglass", "volatility3-2.whl"))
	if s := m.read("opt/tools/STATUS"); !strings.Contains(s, "NOT ALL INSTALLED: Volatility could not be installed") || m.read("usr/bin/shotglass") == "" {
		t.Error(s)
	}
	for what, spoil := range map[string]func(*machine, string){
		"changed": func(m *machine, file string) { m.write(file, "other") },
		"missing": func(m *machine, file string) { m.must(os.Remove(m.at(file))) },
	} {
		m := newMachine(t)
		sums := m.tools("shotglass")
		spoil(m, "bucket/"+strings.Fields(sums)[0]+"-shotglass")
		m.boot(sums)
		if s := m.read("opt/tools/STATUS"); !strings.HasPrefix(s, "tools: NONE INSTALLED:") || m.read("usr/bin/shotglass") != "" {
			t.Errorf("%s: %s", what, s)
		}
	}
}
