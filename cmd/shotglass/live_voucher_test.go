package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/acquire/signature"
)

// TestLiveVouched: what was collected is what a manifest lists, under whatever name it lies there.
func TestLiveVouched(t *testing.T) {
	ours, _ := signerKey(t)
	other, _ := signerKey(t)
	const image, nonced = "x.lime", "0123456789abcdef-x.lime.live.tar.zst"
	type state struct {
		archive  string // under which name it lies there
		lists    bool   // the manifest lists it
		change   bool   // it is another than the manifest lists
		none     bool   // there is no manifest
		by       ssh.Signer
		interim  bool
		args     []string
		file     string // what is asked for, if not the image
		code     int
		says     string
		vouched  bool
		planted  bool // another archive lies there, under the usual name
		unpacked bool
	}
	usual := acquire.LiveName(image, false)
	for name, s := range map[string]state{
		"trusted":              {archive: usual, lists: true, by: ours, args: []string{"--signers", "signers"}, vouched: true, unpacked: true},
		"by whomever":          {archive: usual, lists: true, by: other, says: "whom nobody named as trusted", vouched: true, unpacked: true},
		"by others":            {archive: usual, lists: true, by: other, args: []string{"--signers", "signers"}, code: exitMismatch, says: "no trusted signature"},
		"not signed":           {archive: usual, lists: true, says: "the manifest is not signed", vouched: true, unpacked: true},
		"not signed, signers":  {archive: usual, lists: true, args: []string{"--signers", "signers"}, code: exitMismatch, says: "no trusted signature"},
		"no manifest":          {archive: usual, none: true, says: "there is no manifest", unpacked: true},
		"no manifest, signers": {archive: usual, none: true, args: []string{"--signers", "signers"}, code: exitMismatch, says: "there is no manifest"},
		"no manifest, a nonce": {archive: nonced, none: true, says: "there is no manifest", unpacked: true},
		"another archive":      {archive: usual, lists: true, change: true, by: ours, code: exitMismatch, says: "do not rely on", unpacked: true},
		"another, unchecked":   {archive: usual, lists: true, change: true, by: ours, args: []string{"--unchecked"}, says: "nothing vouches", unpacked: true},
		"a nonce":              {archive: nonced, lists: true, by: ours, args: []string{"--signers", "signers"}, vouched: true, planted: true, unpacked: true},
		"a nonce, on a disk":   {archive: nonced + ".partial", lists: true, by: ours, vouched: true, unpacked: true},
		"no manifest, partial": {archive: nonced + ".partial", none: true, says: "there is no manifest", unpacked: true},
		"a nonce, by name":     {archive: nonced, lists: true, by: ours, file: nonced, args: []string{"--signers", "signers"}, vouched: true, unpacked: true},
		"planted, by name":     {archive: nonced, lists: true, by: ours, file: usual, planted: true, code: exitMismatch, says: "does not know it"},
		"not listed":           {archive: usual, by: ours, code: exitFailed, says: "lists nothing stored"},
		"interim":              {archive: usual, by: ours, interim: true, says: "written before this was collected", unpacked: true},
		"interim, signers":     {archive: usual, by: ours, interim: true, args: []string{"--signers", "signers"}, code: exitMismatch, says: "written before this was collected"},
		"by the manifest":      {archive: usual, lists: true, by: ours, file: image + ".json", vouched: true, unpacked: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			if err := os.WriteFile("signers", append([]byte("me "), ssh.MarshalAuthorizedKey(ours.PublicKey())...), 0o600); err != nil {
				t.Fatal(err)
			}
			items := writeLive(t, s.archive, "Linux version 6.1", live.After)
			if s.change {
				writeLive(t, s.archive, "Linux version 6.2", live.After)
			}
			if s.planted {
				writeLive(t, usual, "Linux version 6.3", live.After)
			}
			m := acquire.Manifest{Type: acquire.ManifestType, Version: acquire.ManifestVersion, Reasons: []string{"a test"}}
			m.Image = acquire.Image{Name: image, Format: "lime", Compression: "none", Encryption: "none"}
			if s.lists {
				m.Live = &acquire.Live{Items: items, Complete: true, Image: acquire.Image{Name: strings.TrimSuffix(s.archive, ".partial"), Location: s.archive, Encryption: "none"}}
			}
			paper := image + acquire.ManifestSuffix
			if s.interim {
				m.Interim, paper = "another was to follow", image+acquire.InterimSuffix
			}
			data, err := m.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if !s.none {
				if err := os.WriteFile(paper, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if s.by != nil {
				sig, err := signature.Sign(data, s.by)
				if err == nil {
					err = os.WriteFile(paper+acquire.SignatureSuffix, sig, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			file := image
			if s.file != "" {
				file = s.file
			}
			var stdout, stderr bytes.Buffer
			args := append(append([]string{"shotglass", "live", "--json", "--output", "out"}, s.args...), file)
			if code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != s.code || !strings.Contains(stderr.String(), s.says) {
				t.Errorf("code %d, want %d with %q: %s", code, s.code, s.says, &stderr)
			}
			var said struct{ Vouched bool }
			for line := range strings.Lines(stdout.String()) {
				if strings.Contains(line, `"message_type":"live"`) {
					if err := json.Unmarshal([]byte(line), &said); err != nil {
						t.Fatal(err)
					}
				}
			}
			if said.Vouched != s.vouched {
				t.Errorf("vouched: %t: %s", said.Vouched, &stdout)
			}
			got, err := os.ReadFile(filepath.Join("out", "proc", "version"))
			if (err == nil) != s.unpacked || s.vouched && string(got) != "Linux version 6.1" {
				t.Errorf("unpacked %q, %v", got, err)
			}
		})
	}
}
