package symbols

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"
)

const testBanner = "Linux version 6.1.0-t (a@b) (gcc 12) #1 SMP \"x\" 2026\n"

// isf is a symbol file as JSON has it.
type isf struct {
	Metadata struct {
		Format string
		Linux  struct{ Symbols, Types []source }
	}
	Base  map[string]map[string]any `json:"base_types"`
	User  map[string]isfType        `json:"user_types"`
	Enums map[string]struct {
		Size      int
		Base      string
		Constants map[string]int64
	}
	Symbols map[string]struct {
		Address uint64
		Type    map[string]any
		Data    string `json:"constant_data"`
	}
}

type isfType struct {
	Size   int
	Kind   string
	Fields map[string]struct {
		Type      map[string]any
		Offset    int
		Anonymous bool
	}
}

func (t isfType) field(name string) string {
	out, _ := json.Marshal(t.Fields[name].Type)
	return fmt.Sprintf("%d %s", t.Fields[name].Offset, out)
}

// kernel is the BTF of a small kernel.
func kernel(t testing.TB) []byte {
	t.Helper()
	num := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	unsigned := &btf.Int{Name: "unsigned int", Size: 4}
	char := &btf.Int{Name: "char", Size: 1}
	long := &btf.Int{Name: "long unsigned int", Size: 8}
	list := &btf.Struct{Name: "list_head", Size: 16}
	list.Members = []btf.Member{{Name: "next", Type: &btf.Pointer{Target: list}}, {Name: "prev", Type: &btf.Pointer{Target: list}, Offset: 64}}
	state := &btf.Enum{Name: "state", Size: 4, Signed: true, Values: []btf.EnumValue{{Name: "DEAD", Value: ^uint64(0)}, {Name: "ALIVE", Value: 1}}}
	flags := &btf.Enum{Name: "flags", Size: 4, Values: []btf.EnumValue{{Name: "HIGH", Value: 0x80000000}}}
	inner := &btf.Union{Size: 8, Members: []btf.Member{{Name: "a", Type: long}, {Name: "b", Type: num}}}
	kuid := &btf.Typedef{Name: "kuid_t", Type: &btf.Struct{Size: 4, Members: []btf.Member{{Name: "val", Type: unsigned}}}}
	call := &btf.FuncProto{Return: num, Params: []btf.FuncParam{{Name: "x", Type: &btf.Const{Type: long}}, {Type: &btf.Void{}}}}
	task := &btf.Struct{Name: "task_struct", Size: 128}
	task.Members = []btf.Member{
		{Name: "pid", Type: num},
		{Name: "on", Type: unsigned, Offset: 43, BitfieldSize: 3},
		{Name: "comm", Type: &btf.Array{Index: num, Type: char, Nelems: 16}, Offset: 64},
		{Type: inner, Offset: 192},
		{Name: "tasks", Type: list, Offset: 256},
		{Name: "fn", Type: &btf.Pointer{Target: call}, Offset: 384},
		{Name: "uid", Type: &btf.Volatile{Type: kuid}, Offset: 448},
		{Name: "state", Type: state, Offset: 480},
		{Name: "parent", Type: &btf.Pointer{Target: &btf.Const{Type: task}}, Offset: 512},
		{Name: "grid", Type: &btf.Array{Index: num, Type: &btf.Array{Index: num, Type: num, Nelems: 3}, Nelems: 2}, Offset: 576},
		{Name: "far", Type: &btf.Pointer{Target: &btf.Fwd{Name: "elsewhere"}}, Offset: 768},
		{Name: "any", Type: &btf.Pointer{Target: &btf.Void{}}, Offset: 832},
		{Name: "ok", Type: &btf.Int{Name: "_Bool", Size: 1, Encoding: btf.Bool}, Offset: 896},
		{Name: "flags", Type: flags, Offset: 928},
	}
	double := func(size uint32) *btf.Struct { // two of one name
		return &btf.Struct{Name: "double", Size: size, Members: []btf.Member{{Name: "n", Type: num}}}
	}
	timer := &btf.Struct{Size: 32, Members: []btf.Member{{Name: "timekeeper", Type: &btf.Struct{Name: "timekeeper", Size: 16, Members: []btf.Member{}}}}}
	current := &btf.Var{Name: "current_task", Type: &btf.Pointer{Target: task}, Linkage: btf.GlobalVar}
	percpu := &btf.Datasec{Name: ".data..percpu", Size: 8, Vars: []btf.VarSecinfo{{Type: current, Size: 8}}}
	build, err := btf.NewBuilder([]btf.Type{task, double(4), &btf.Struct{Name: "uses", Size: 8, Members: []btf.Member{{Name: "d", Type: double(8)}}}, timer, percpu}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := build.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// kallsyms lists the symbols of a kernel that KASLR moved by offset.
func kallsyms(offset uint64, more ...string) []byte {
	var b bytes.Buffer
	b.WriteString("0000000000000040 A current_task\n")
	for _, s := range []string{"81000000 T startup_64", "81000000 T _stext", "81000000 T _text", "82000000 D linux_banner", "82001000 D init_task",
		"82002000 D modules", "82003000 b tk_core", "82004000 D sys_call_table", "82004020 D next", "82005000 D init_top_pgt", "82006000 d twice", "82007000 d twice"} {
		var addr uint64
		var kind, name string
		fmt.Sscanf(s, "%x %s %s", &addr, &kind, &name)
		fmt.Fprintf(&b, "%016x %s %s\n", 0xffffffff00000000+addr+offset, kind, name)
	}
	for i := range fewSymbols {
		fmt.Fprintf(&b, "%016x t filler_%d\n", 0xffffffff83000000+offset+uint64(i)*16, i)
	}
	for _, m := range more {
		b.WriteString(m + "\n")
	}
	fmt.Fprintf(&b, "ffffffffc0000000 t init_module\t[lime]\n")
	return b.Bytes()
}

func inputs(t testing.TB) Inputs {
	return Inputs{
		BTF: kernel(t), Kallsyms: kallsyms(0x1a000000), Banner: []byte(testBanner), Version: "v1",
		VMCoreInfo: []byte("\x7fELF\x00VMCOREINFO\x00OSRELEASE=6.1.0-t\nSYMBOL(_stext)=ffffffff9b000000\nSYMBOL(swapper_pg_dir)=ffffffff9c005000\nKERNELOFFSET=1a000000\nNUMBER(pgtable_l5_enabled)=0\n\x00junk"),
	}
}

func written(t testing.TB, in Inputs) (isf, Report) {
	t.Helper()
	var out bytes.Buffer
	rep, err := WriteJSON(&out, in)
	if err != nil {
		t.Fatal(err)
	}
	f, err := readISF(out.Bytes())
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return f, rep
}

func readISF(raw []byte) (f isf, err error) { return f, json.Unmarshal(raw, &f) }

func TestTypes(t *testing.T) {
	f, rep := written(t, inputs(t))
	task := f.User["task_struct"]
	if task.Size != 128 || task.Kind != "struct" {
		t.Errorf("task_struct: %+v", task)
	}
	for name, want := range map[string]string{
		"pid":    `0 {"kind":"base","name":"int"}`,
		"on":     `5 {"bit_length":3,"bit_position":3,"kind":"bitfield","type":{"kind":"base","name":"unsigned int"}}`,
		"comm":   `8 {"count":16,"kind":"array","subtype":{"kind":"base","name":"char"}}`,
		"tasks":  `32 {"kind":"struct","name":"list_head"}`,
		"fn":     `48 {"kind":"pointer","subtype":{"kind":"function"}}`,
		"uid":    `56 {"kind":"struct","name":"kuid_t"}`,
		"state":  `60 {"kind":"enum","name":"state"}`,
		"parent": `64 {"kind":"pointer","subtype":{"kind":"struct","name":"task_struct"}}`,
		"grid":   `72 {"count":2,"kind":"array","subtype":{"count":3,"kind":"array","subtype":{"kind":"base","name":"int"}}}`,
		"far":    `96 {"kind":"pointer","subtype":{"kind":"struct","name":"elsewhere"}}`,
		"any":    `104 {"kind":"pointer","subtype":{"kind":"base","name":"void"}}`,
		"ok":     `112 {"kind":"base","name":"_Bool"}`,
		"flags":  `116 {"kind":"enum","name":"flags"}`,
	} {
		if got := task.field(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	// The name is the one that dwarf2json gives: SHA-1 of "union {a long unsigned int@0; b int@0}".
	inner := task.Fields["unnamed_field_0"]
	if name := inner.Type["name"]; !inner.Anonymous || inner.Offset != 24 || name != "unnamed_ffe522e3a173d462" || f.User[fmt.Sprint(name)].Kind != "union" {
		t.Errorf("a union without a name: %+v", inner)
	}
	if s := f.Enums["state"]; s.Base != "int" || s.Constants["DEAD"] != -1 || f.Enums["flags"].Constants["HIGH"] != 1<<31 || f.Enums["flags"].Base != "unsigned int" {
		t.Errorf("enums %+v", f.Enums)
	}
	if f.User["double"].Size != 4 || f.User["double___2"].Size != 8 || f.User["uses"].field("d") != `0 {"kind":"struct","name":"double___2"}` {
		t.Errorf("two types of one name: %+v, %+v, %+v", f.User["double"], f.User["double___2"], f.User["uses"])
	}
	if got := fmt.Sprint(f.Base["char"], f.Base["_Bool"], f.Base["pointer"], f.Base["void"]); got !=
		"map[endian:little kind:char signed:true size:1] map[endian:little kind:bool signed:true size:1] map[endian:little kind:int signed:false size:8] map[endian:little kind:void signed:false size:0]" {
		t.Error(got)
	}
	if rep.UserTypes != len(f.User) || rep.Enums != 2 || rep.Types != "btf" {
		t.Errorf("%+v", rep)
	}
}

func TestSymbols(t *testing.T) {
	f, rep := written(t, inputs(t))
	for name, want := range map[string]string{
		"current_task":   `40 {"kind":"pointer","subtype":{"kind":"struct","name":"task_struct"}}`, // BTF says so, and KASLR does not move it
		"init_task":      `ffffffff82001000 {"kind":"struct","name":"task_struct"}`,
		"modules":        `ffffffff82002000 {"kind":"struct","name":"list_head"}`,
		"sys_call_table": `ffffffff82004000 {"count":4,"kind":"array","subtype":{"kind":"pointer","subtype":{"kind":"function"}}}`,
		"filler_1":       `ffffffff83000010 {"kind":"base","name":"void"}`,
		"swapper_pg_dir": `ffffffff82005000 {"kind":"base","name":"void"}`, // VMCOREINFO alone knows it
		"twice":          `ffffffff82007000 {"kind":"base","name":"void"}`,
	} {
		typ, _ := json.Marshal(f.Symbols[name].Type)
		if got := fmt.Sprintf("%x %s", f.Symbols[name].Address, typ); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if n := fmt.Sprint(f.Symbols["tk_core"].Type["name"]); f.User[n].field("timekeeper") != `0 {"kind":"struct","name":"timekeeper"}` {
		t.Errorf("tk_core is of type %s", n)
	}
	if _, ok := f.Symbols["init_module"]; ok {
		t.Error("a module's symbol is there")
	}
	data, err := base64.StdEncoding.DecodeString(f.Symbols["linux_banner"].Data)
	if err != nil || string(data) != testBanner+"\x00" || f.Symbols["linux_banner"].Type["count"] != float64(len(data)) {
		t.Errorf("banner %q, %v, %+v", data, err, f.Symbols["linux_banner"])
	}
	if rep.KernelOffset != 0x1a000000 || rep.Release != "6.1.0-t" || rep.FiveLevel || rep.Symbols != len(f.Symbols) {
		t.Errorf("%+v", rep)
	}
	names := func(r Report) (out []string) {
		for _, m := range r.Missing {
			out = append(out, m.Name)
		}
		return out
	}
	if got := names(rep); !slices.Contains(got, "symbol module_kset") || slices.Contains(got, "symbol modules") || !slices.Contains(got, "type module (perhaps a module's)") || slices.Contains(got, "type task_struct (perhaps a module's)") {
		t.Errorf("missing: %q", got)
	}
}

// TestOffset: kallsyms alone, with System.map, and with a note of another boot.
func TestOffset(t *testing.T) {
	linked := kallsyms(0, "ffffffff84000000 D only_in_the_map")
	other := bytes.ReplaceAll(kallsyms(0), []byte("ffffffff83"), []byte("ffffffff93"))
	for _, c := range []struct {
		name   string
		change func(*Inputs)
		offset uint64
		note   string
	}{
		{"note", func(*Inputs) {}, 0x1a000000, ""},
		{"nothing", func(in *Inputs) { in.VMCoreInfo = nil }, 0x1a000000, "taken to be linked"},
		{"map", func(in *Inputs) { in.VMCoreInfo, in.SystemMap = nil, linked }, 0x1a000000, "1 symbols come from System.map"},
		{"other boot", func(in *Inputs) { in.Kallsyms = kallsyms(0x2000000) }, 0x2000000, "another boot"},
		{"map alone", func(in *Inputs) { in.Kallsyms, in.SystemMap = nil, linked }, 0, ""},
		{"hidden", func(in *Inputs) {
			in.Kallsyms = []byte(strings.Repeat("0000000000000000 t a\n", 9))
			in.SystemMap = linked
		}, 0, "stub"},
		{"stub", func(in *Inputs) {
			in.SystemMap = []byte("ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n")
		}, 0x1a000000, "System.map was not used: it has 1 lines"},
		{"other map", func(in *Inputs) { in.SystemMap = other }, 0x1a000000, "of another kernel"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := inputs(t)
			c.change(&in)
			f, rep := written(t, in)
			if rep.KernelOffset != c.offset || f.Symbols["init_task"].Address != 0xffffffff82001000 {
				t.Errorf("offset %#x, init_task at %#x", rep.KernelOffset, f.Symbols["init_task"].Address)
			}
			if notes := strings.Join(rep.Notes, "\n"); !strings.Contains(notes, c.note) {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	hidden := []byte{}
	for i := range fewSymbols {
		hidden = fmt.Appendf(hidden, "0000000000000000 t f%d\n", i)
	}
	for _, c := range []struct {
		name   string
		change func(*Inputs)
		is     error
		text   string
	}{
		{"no banner", func(in *Inputs) { in.Banner = nil }, ErrNoBanner, ""},
		{"not a banner", func(in *Inputs) { in.Banner = []byte("Darwin") }, nil, "Darwin"},
		{"no types", func(in *Inputs) { in.BTF = nil }, ErrNoTypes, ""},
		{"no symbols", func(in *Inputs) { in.Kallsyms = nil }, ErrNoSymbols, ""},
		{"hidden symbols", func(in *Inputs) { in.Kallsyms = hidden }, ErrNoSymbols, "kptr_restrict"},
		{"not symbols", func(in *Inputs) { in.Kallsyms = bytes.Repeat([]byte("<html>\n"), 2000) }, ErrNoSymbols, "line 1"},
		{"cut BTF", func(in *Inputs) { in.BTF = in.BTF[:len(in.BTF)-9] }, io.ErrUnexpectedEOF, ""},
		{"not BTF", func(in *Inputs) { in.BTF = bytes.Repeat([]byte("x"), 99) }, nil, "magic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := inputs(t)
			c.change(&in)
			_, err := WriteJSON(io.Discard, in)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	var a, b, plain bytes.Buffer
	rep, err := Write(&a, inputs(t))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Write(&b, inputs(t))
	if !bytes.Equal(a.Bytes(), b.Bytes()) || cmp.Diff(rep, again) != "" {
		t.Error("two runs differ")
	}
	other, _ := WriteJSON(&plain, inputs(t))
	z, err := xz.NewReader(&a)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(unpacked, plain.Bytes()) {
		t.Errorf("the JSON in xz differs: %v", err)
	}
	if rep.Bytes != int64(b.Len()) || rep.JSONBytes != int64(plain.Len()) || rep.JSONSHA256 != other.JSONSHA256 || len(rep.SHA256) != 64 {
		t.Errorf("%+v", rep)
	}
	fails := errors.New("disk full")
	if _, err := Write(failing{fails}, inputs(t)); !errors.Is(err, fails) {
		t.Errorf("error %v", err)
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }

func TestFiveLevel(t *testing.T) {
	in := inputs(t)
	in.VMCoreInfo = bytes.ReplaceAll(in.VMCoreInfo, []byte("enabled)=0"), []byte("enabled)=1"))
	if _, rep := written(t, in); !rep.FiveLevel || !strings.Contains(strings.Join(rep.Notes, ""), "la57") {
		t.Errorf("%+v", rep)
	}
}

// TestModule adds the types of a module.
func TestModule(t *testing.T) {
	base := kernel(t)
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(base))
	if err != nil {
		t.Fatal(err)
	}
	task, err := spec.AnyTypeByName("task_struct")
	if err != nil {
		t.Fatal(err)
	}
	id, err := spec.TypeID(task)
	if err != nil {
		t.Fatal(err)
	}
	in := inputs(t)
	in.ModuleBTF = map[string][]byte{"bad": base[:30], "af_packet": split(t, base, uint32(id))}
	f, rep := written(t, in)
	if got := f.User["packet_sock"]; got.Size != 136 || got.field("owner") != `8 {"kind":"struct","name":"task_struct"}` {
		t.Errorf("packet_sock %+v", got)
	}
	if n := strings.Join(rep.Notes, "\n"); !strings.Contains(n, `module "bad"`) || strings.Contains(n, "af_packet") {
		t.Errorf("notes %q", n)
	}
	if slices.Contains(slices.Collect(maps.Keys(f.User)), "") {
		t.Error("a type without a name")
	}
}

// split is a module's BTF, which goes on where the kernel's ends: struct packet_sock { int pad[2]; struct task_struct owner; }.
func split(t testing.TB, base []byte, task uint32) []byte {
	_, next, err := checkBTF(base, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	strings, at := []byte("\x00packet_sock\x00owner\x00"), stringBytes(base)
	words := []uint32{at + 1, btfStruct<<24 | 1, 136, at + 13, task, 64, 0, 2 << 24, next}
	b := binary.LittleEndian.AppendUint16(nil, 0xeb9f)
	b = append(b, 1, 0)
	for _, w := range append([]uint32{24, 0, uint32(4 * len(words)), uint32(4 * len(words)), uint32(len(strings))}, words...) {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return append(b, strings...)
}
