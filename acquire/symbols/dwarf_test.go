package symbols

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// source is a kernel for a compiler: two units, one of which only declares what the other defines.
const firstUnit = `
typedef struct { int counter; } atomic_t;
enum state { DEAD = -1, ALIVE };
enum { LONELY = 7 };
struct list_head { struct list_head *next, *prev; };
struct task_struct {
	int pid;
	unsigned a:3, on:5;
	char comm[16];
	union { long x; int y; };
	struct list_head tasks;
	int (*fn)(const char *, ...);
	atomic_t usage;
	enum state state;
	const struct elsewhere *far;
	int grid[2][3];
	char rest[];
};
struct task_struct init_task = { .pid = 0 };
const char linux_banner[] = "Linux version 6.1.0-t (a@b) (gcc) #1\n";
static struct list_head modules;
struct list_head *keep(void) { return LONELY ? &modules : 0; }
`

const secondUnit = `
struct list_head { struct list_head *next, *prev; };
struct elsewhere { long n; };
extern struct list_head *keep(void);
extern long total[];
long total[5];
struct elsewhere there;
int main(void) { return keep() != 0; }
`

// TestDWARF reads what a compiler writes, DWARF 4 and 5, packed, and with units that refer to each other.
func TestDWARF(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc")
	}
	for _, version := range []string{"-gdwarf-4", "-gdwarf-5", "-gdwarf-5 -gz", "-gdwarf-5 -flto"} {
		t.Run(version, func(t *testing.T) {
			dir := t.TempDir()
			var filler strings.Builder
			for i := range fewSymbols {
				filler.WriteString("int filler_" + strings.Repeat("x", i+1) + ";\n")
			}
			for name, text := range map[string]string{"a.c": firstUnit + filler.String(), "b.c": secondUnit} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(gcc, append(strings.Fields(version), "-o", "vmlinux", "a.c", "b.c")...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			elf, err := os.Open(filepath.Join(dir, "vmlinux"))
			if err != nil {
				t.Fatal(err)
			}
			defer elf.Close()
			f, rep := written(t, Inputs{Vmlinux: elf})
			task := f.User["task_struct"]
			for name, want := range map[string]string{
				"on":    `4 {"bit_length":5,"bit_position":3,"kind":"bitfield","type":{"kind":"base","name":"unsigned int"}}`,
				"comm":  `5 {"count":16,"kind":"array","subtype":{"kind":"base","name":"char"}}`,
				"tasks": `32 {"kind":"struct","name":"list_head"}`,
				"fn":    `48 {"kind":"pointer","subtype":{"kind":"function"}}`,
				"usage": `56 {"kind":"struct","name":"atomic_t"}`,
				"state": `60 {"kind":"enum","name":"state"}`,
				"far":   `64 {"kind":"pointer","subtype":{"kind":"struct","name":"elsewhere"}}`,
				"grid":  `72 {"count":2,"kind":"array","subtype":{"count":3,"kind":"array","subtype":{"kind":"base","name":"int"}}}`,
				"rest":  `96 {"count":0,"kind":"array","subtype":{"kind":"base","name":"char"}}`,
			} {
				if got := task.field(name); got != want {
					t.Errorf("%s: %s, want %s", name, got, want)
				}
			}
			if u := task.Fields["unnamed_field_0"]; !u.Anonymous || u.Offset != 24 {
				t.Errorf("a union without a name: %+v", u)
			}
			if f.User["elsewhere"].Size != 8 || f.User["list_head___2"].Size != 0 {
				t.Error("a type of the second unit is missing, or doubled")
			}
			lonely := false
			for _, e := range f.Enums {
				lonely = lonely || e.Constants["LONELY"] == 7
			}
			if !lonely || f.Enums["state"].Constants["DEAD"] != -1 {
				t.Errorf("enums %+v", f.Enums)
			}
			if total := f.Symbols["total"]; total.Type["count"] != 5.0 || total.Address == 0 || f.Symbols["init_task"].Type["name"] != "task_struct" || f.Symbols["modules"].Type["name"] != "list_head" {
				t.Errorf("total %+v, init_task %+v", total, f.Symbols["init_task"])
			}
			if rep.Types != "dwarf" || rep.Banner != "Linux version 6.1.0-t (a@b) (gcc) #1" {
				t.Errorf("%+v", rep)
			}
			if out, err := exec.Command("strip", filepath.Join(dir, "vmlinux"), "--strip-debug", "-o", filepath.Join(dir, "stripped")).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			stripped, err := os.Open(filepath.Join(dir, "stripped"))
			if err != nil {
				t.Fatal(err)
			}
			defer stripped.Close()
			if _, err := WriteJSON(io.Discard, Inputs{Vmlinux: stripped}); !errors.Is(err, ErrNoTypes) {
				t.Errorf("stripped: %v", err)
			}
		})
	}
	if _, err := WriteJSON(io.Discard, Inputs{Vmlinux: strings.NewReader("no ELF")}); err == nil {
		t.Error("no ELF was taken")
	}
}
