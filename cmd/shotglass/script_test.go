package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/cilium/ebpf/btf"
	"github.com/klauspost/compress/gzip"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/kernelmodules/archive/archivetest"
	"github.com/shotglass-ir/shotglass/kernelmodules/moduletest"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository/repositorytest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"shotglass": main, "spiller": spiller})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("SSH_AUTH_SOCK", "")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code":   codeCmd,
			"mklime": mklimeCmd,
			"mkarea": mkareaCmd,
			"mkbtf":  mkbtfCmd,
			"mkdeb":  mkdebCmd,
			"mkkey":  mkkeyCmd,
			"mkage":  mkageCmd,
			"seal":   sealCmd,
			"chop":   chopCmd,
			"flip":   flipCmd,
			"mkrepo": mkrepoCmd(t),
			"mkpgp":  mkpgpCmd(t),
			"mkmod":  mkmodCmd,
			"cloud":  cloudCmd,
		},
	})
}

// mkrepoCmd makes a signed repository of two modules: mkrepo DIR REVISION. FPR becomes the
// fingerprint of its key, DIR.asc the key, SUM the digest of the first module.
func mkrepoCmd(t *testing.T) func(ts *testscript.TestScript, neg bool, args []string) {
	key := repositorytest.NewKey(t, nil)
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: mkrepo DIR REVISION")
		}
		repo := repositorytest.New(t, key)
		for _, release := range []string{"6.1.0-56-cloud-amd64", "5.10.0-20-amd64"} {
			repo.Modules = append(repo.Modules, repositorytest.Module{Release: release, Data: moduletest.LiME(release + " SMP preempt mod_unload modversions "), Signed: true})
		}
		var err error
		repo.Revision, err = strconv.ParseInt(args[1], 10, 64)
		ts.Check(err)
		repo.Build()
		dir := ts.MkAbs(args[0])
		ts.Check(os.RemoveAll(dir))
		repo.Write(dir)
		ts.Check(os.WriteFile(dir+".asc", repo.Files["REPO_SIGNING_KEY.asc"], 0o600))
		ts.Setenv("FPR", repositorytest.Fingerprint(key))
		ts.Setenv("SUM", repositorytest.Sum(repo.Modules[0].Data))
	}
}

// mkpgpCmd makes a private OpenPGP key: mkpgp FILE [passphrase]. FPR becomes its fingerprint, FILE.asc
// the public key.
func mkpgpCmd(t *testing.T) func(ts *testscript.TestScript, neg bool, args []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 1 {
			ts.Fatalf("usage: mkpgp FILE [passphrase]")
		}
		key := repositorytest.NewKey(t, nil)
		if len(args) > 1 {
			ts.Check(key.EncryptPrivateKeys([]byte(args[1]), nil))
		}
		var out bytes.Buffer
		ts.Check(key.SerializePrivateWithoutSigning(&out, nil))
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), out.Bytes(), 0o600))
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+".asc"), repositorytest.Armor(t, key), 0o600))
		ts.Setenv("FPR", repositorytest.Fingerprint(key))
	}
}

// mkmodCmd makes a module: mkmod FILE RELEASE [text that tells it from others].
func mkmodCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mkmod FILE RELEASE [TEXT]")
	}
	info := append(moduletest.LiMEInfo(args[1]+" SMP preempt mod_unload modversions "), args[2:]...)
	data := moduletest.Fake{Info: info, Imports: moduletest.Imports()}.Bytes()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

// codeCmd runs shotglass and checks its exit code: code 64 capture --nope.
func codeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: code N [arguments of shotglass]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	have := 0
	if err := ts.Exec("shotglass", args[1:]...); err != nil {
		exit, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("shotglass: %v", err)
		}
		have = exit.ExitCode()
	}
	if have != want {
		ts.Fatalf("exit code %d, want %d", have, want)
	}
}

// mkareaCmd makes a swap area of 3 MiB: mkarea FILE raw|zstd.
func mkareaCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mkarea FILE raw|zstd")
	}
	raw := make([]byte, 3<<20)
	binary.LittleEndian.PutUint32(raw[1024:], 1)
	binary.LittleEndian.PutUint32(raw[1028:], 3<<8-1)
	copy(raw[1036:], "0123456789abcdef")
	copy(raw[1052:], "a\x1blabel")
	copy(raw[4086:], "SWAPSPACE2")
	copy(raw[2<<20:], "swapped out\n")
	var out bytes.Buffer
	if args[1] == "raw" {
		out.Write(raw)
	} else {
		pool := frame.NewPool(frame.PoolOptions{})
		defer pool.Close()
		w, err := frame.NewWriter(&out, frame.Options{Pool: pool})
		ts.Check(err)
		_, err = w.Write(raw)
		ts.Check(err)
		ts.Check(w.Close())
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out.Bytes(), 0o600))
}

// mkdebCmd makes a package of one file: mkdeb PACKAGE NAME FILE.
func mkdebCmd(ts *testscript.TestScript, neg bool, args []string) {
	p := archivetest.Package{Name: "linux-image-dbg", Version: "1", Arch: "amd64", Files: []archivetest.File{{Name: "./" + args[1], Data: ts.ReadFile(args[2])}}}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), p.Deb(), 0o600))
}

// mkbtfCmd makes what a small kernel tells of itself: mkbtf DIR.
func mkbtfCmd(ts *testscript.TestScript, neg bool, args []string) {
	files, err := smallKernel()
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	for file, name := range map[string]string{"sys/kernel/btf/vmlinux": "vmlinux.btf", "proc/kallsyms": "kallsyms", "proc/version": "version", "vmcoreinfo": "vmcoreinfo"} {
		ts.Check(os.WriteFile(filepath.Join(dir, name), []byte(files[file]), 0o600))
	}
}

// smallKernel is what a small kernel tells of itself, by the names in the archive of what is collected.
func smallKernel() (map[string]string, error) {
	task := &btf.Struct{Name: "task_struct", Size: 4, Members: []btf.Member{{Name: "pid", Type: &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}}}}
	b, err := btf.NewBuilder([]btf.Type{task}, nil)
	if err != nil {
		return nil, err
	}
	raw, err := b.Marshal(nil, nil)
	syms := "ffffffff9b000000 T _stext\nffffffff9b001000 D init_task\n"
	for i := range 1000 {
		syms += fmt.Sprintf("%x t filler_%d\n", 0xffffffff9b100000+uint64(i), i)
	}
	return map[string]string{
		"sys/kernel/btf/vmlinux": string(raw), "proc/kallsyms": syms, "proc/version": "Linux version 6.1.0/../x (a@b) #1\n",
		"vmcoreinfo": "OSRELEASE=6.1.0/../x\nSYMBOL(_stext)=ffffffff9b000000\nKERNELOFFSET=1a000000\nNUMBER(pgtable_l5_enabled)=1\n",
	}, err
}

// mklimeCmd makes an image of two ranges: mklime FILE raw|zstd|gzip. The first page
// of the second range holds a kernel banner, every other page is zero.
func mklimeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mklime FILE raw|zstd|gzip")
	}
	var raw bytes.Buffer
	w := lime.NewWriter(&raw)
	ts.Check(w.Begin(lime.Range{Start: 0x1000, End: 0x2fff}))
	ts.Check(w.Zero(0x2000))
	ts.Check(w.Begin(lime.Range{Start: 0x100000, End: 0x2fffff}))
	page := make([]byte, lime.PageSize)
	copy(page, "Linux version 6.1.0-test (me@here) (gcc 12) #1 SMP Debian\n")
	_, err := w.Write(page)
	ts.Check(err)
	ts.Check(w.Zero(0x200000 - lime.PageSize))
	ts.Check(w.Close())
	var out bytes.Buffer
	switch args[1] {
	case "raw":
		out = raw
	case "zstd", "s2":
		pool := frame.NewPool(frame.PoolOptions{Workers: 1})
		defer pool.Close()
		fw, err := frame.NewWriter(&out, frame.Options{Pool: pool, Compression: args[1]})
		ts.Check(err)
		_, err = fw.Write(raw.Bytes())
		ts.Check(err)
		ts.Check(fw.Close())
	case "gzip":
		gw := gzip.NewWriter(&out)
		_, err := gw.Write(raw.Bytes())
		ts.Check(err)
		ts.Check(gw.Close())
	default:
		ts.Fatalf("unknown storage %q", args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out.Bytes(), 0o600))
}

// mkkeyCmd makes a key pair: mkkey FILE [passphrase].
func mkkeyCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: mkkey FILE [passphrase]")
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	ts.Check(err)
	block, err := ssh.MarshalPrivateKey(priv, "")
	if len(args) > 1 {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(priv, "", []byte(args[1]))
	}
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), pem.EncodeToMemory(block), 0o600))
	sshPub, err := ssh.NewPublicKey(pub)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pub"), ssh.MarshalAuthorizedKey(sshPub), 0o600))
}

// mkageCmd makes a key pair of age: mkage FILE [passphrase].
func mkageCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: mkage FILE [passphrase]")
	}
	id, err := age.GenerateX25519Identity()
	ts.Check(err)
	text := []byte("# public key: " + id.Recipient().String() + "\n" + id.String() + "\n")
	if len(args) > 1 {
		r, err := age.NewScryptRecipient(args[1])
		ts.Check(err)
		r.SetWorkFactor(4)
		var out bytes.Buffer
		w, err := age.Encrypt(&out, r)
		ts.Check(err)
		_, err = w.Write(text)
		ts.Check(err)
		ts.Check(w.Close())
		text = out.Bytes()
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pub"), []byte(id.Recipient().String()+"\n"), 0o600))
}

// sealCmd encrypts a file to the recipients in others: seal FROM TO RECIPIENTS...
func sealCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: seal FROM TO RECIPIENTS...")
	}
	var to []agefile.Recipient
	for _, name := range args[2:] {
		list, err := agefile.ParseRecipients(strings.NewReader(ts.ReadFile(name)))
		ts.Check(err)
		to = append(to, list...)
	}
	var out bytes.Buffer
	w, err := agefile.NewWriter(&out, to, 1)
	ts.Check(err)
	_, err = w.Write([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(w.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out.Bytes(), 0o600))
}

// chopCmd cuts bytes off the end of a file: chop FILE N.
func chopCmd(ts *testscript.TestScript, neg bool, args []string) {
	data, n := fileAndNumber(ts, args)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data[:len(data)-n], 0o600))
}

// flipCmd inverts one byte of a file: flip FILE OFFSET.
func flipCmd(ts *testscript.TestScript, neg bool, args []string) {
	data, n := fileAndNumber(ts, args)
	data[n] ^= 0xff
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

func fileAndNumber(ts *testscript.TestScript, args []string) ([]byte, int) {
	if len(args) != 2 {
		ts.Fatalf("want FILE N")
	}
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	if n < 0 || n >= len(data) {
		ts.Fatalf("%s has %d bytes", args[0], len(data))
	}
	return data, n
}
