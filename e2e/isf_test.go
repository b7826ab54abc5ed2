//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/e2e/isf"
)

// smallKernel is C with what the kernel has: bitfields, unions, enums without names, circles, functions.
const smallKernel = `
typedef unsigned int u32;
typedef struct { int counter; } atomic_t;
typedef struct { u32 val; } kuid_t;
enum state { DEAD = -1, ALIVE, ZOMBIE = 0x7fffffff };
enum flags { HIGH = 0x80000000u };
struct list_head { struct list_head *next, *prev; };
struct task_struct;
struct file_operations { long (*read)(struct task_struct *, char *, unsigned long); int (*open)(const char *, ...); };
struct rb_node { unsigned long color; struct rb_node *left, *right; } __attribute__((aligned(8)));
struct task_struct {
	volatile long state;
	unsigned a:3, on:5, :2, late:11;
	char comm[16];
	union { long x; int y; struct { short lo, hi; } half; };
	struct { u32 inside; } nested;
	struct list_head tasks;
	atomic_t usage;
	kuid_t uid;
	enum state exit;
	enum flags flags;
	_Bool ok;
	double ratio;
	const struct elsewhere *far;
	const struct file_operations *fops;
	struct task_struct *parent, **children[4];
	struct rb_node node;
	void *any;
	char rest[];
};
struct task_struct init_task = { .on = 1 };
struct list_head modules;
const char linux_banner[] = "Linux version 6.1.0-t (a@b) (gcc) #1\n";
static struct file_operations hidden;
void *keep(void) { return init_task.on ? (void *)&modules : (void *)&hidden; }
int main(void) { return keep() != 0; }
`

// TestSymbolFile holds symbol files of a small program, from its DWARF and from its BTF, against each other and against
// what pahole reads of it. make isf-compare holds those of a kernel against dwarf2json's.
func TestSymbolFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	do := func(name string, args ...string) []byte {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", cmd, err)
		}
		return out
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	text.WriteString(smallKernel)
	for i := range 1200 { // a kernel with fewer symbols is none
		fmt.Fprintf(&text, "int filler_%d;\n", i)
	}
	write("kernel.c", text.String())
	do("gcc", "-g", "-no-pie", "-o", "vmlinux", "kernel.c")
	do("pahole", "-J", "--btf_gen_floats", "vmlinux")
	if err := os.Mkdir(filepath.Join(dir, "bundle"), 0o700); err != nil {
		t.Fatal(err)
	}
	do("objcopy", "-O", "binary", "--only-section=.BTF", "--set-section-flags", ".BTF=alloc", "vmlinux", "bundle/vmlinux.btf")
	var list strings.Builder
	for line := range strings.Lines(string(do("nm", "vmlinux"))) {
		if len(strings.Fields(line)) == 3 {
			list.WriteString(line)
		}
	}
	write("bundle/kallsyms", list.String())
	write("bundle/version", "Linux version 6.1.0-t (a@b) (gcc) #1\n")

	made := map[string]isf.File{}
	for name, args := range map[string][]string{"btf": {"--from", filepath.Join(dir, "bundle")}, "dwarf": {"--vmlinux", filepath.Join(dir, "vmlinux")}} {
		out := filepath.Join(dir, name+".json.xz")
		start(t, nil, append([]string{"symbols", "--output", out}, args...)...).want(0, time.Minute)
		do("xz", "-dk", out)
		var err error
		if made[name], err = isf.Read(filepath.Join(dir, name+".json")); err != nil {
			t.Fatal(err)
		}
	}
	for section, least := range map[string]int{"base_types": 8, "user_types": 9, "enums": 2, "symbols": 1200} {
		d := isf.Compare(section, made["btf"], made["dwarf"])
		t.Log(d)
		for _, x := range d.Differ {
			t.Errorf("%s %s: of BTF and of DWARF differ: %q", section, x.Name, x.Places)
		}
		if d.Equal+d.Untyped < least {
			t.Errorf("%s: %d are equal, want %d at least", section, d.Equal+d.Untyped, least)
		}
		// What a typedef names is here by itself, too.
		d.OnlyOurs = slices.DeleteFunc(d.OnlyOurs, func(s string) bool { return strings.HasPrefix(s, "unnamed_") })
		if section != "symbols" && len(d.OnlyOurs)+len(d.OnlyThem) > 0 {
			t.Errorf("%s: of BTF only %q, of DWARF only %q", section, d.OnlyOurs, d.OnlyThem)
		}
	}
	fields := 0
	for _, name := range []string{"task_struct", "list_head", "rb_node", "file_operations"} {
		layout := string(do("pahole", "--suppress_aligned_attribute", "-C", name, "vmlinux"))
		ours := made["btf"]["user_types"][name]
		for _, m := range paholeMember.FindAllStringSubmatch(layout, -1) {
			field, _ := ours["fields"].(map[string]any)[m[1]].(map[string]any)
			if field == nil || fmt.Sprint(field["offset"]) != m[2] {
				t.Errorf("%s.%s is at %s, by pahole; here %v", name, m[1], m[2], field)
			}
			fields++
		}
		if !strings.Contains(layout, fmt.Sprintf("/* size: %v,", ours["size"])) {
			t.Errorf("%s has %v bytes here, by pahole:\n%s", name, ours["size"], layout)
		}
	}
	if fields < 20 {
		t.Errorf("%d fields of pahole's were read", fields)
	}
}

// paholeMember is a member of a struct, at its top, with its offset. Of bitfields pahole names the unit that holds them.
var paholeMember = regexp.MustCompile(`(?m)^\t\S[^;\n]*?\(?\*?(\w+)\)?(?:\([^;\n]*\)|\[\d*\])?;\s+/\* +(\d+) +\d+ \*/`)
