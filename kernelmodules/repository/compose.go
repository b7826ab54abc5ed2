package repository

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// keyJSON tells Margarita Shotgun of the key. Nothing here reads it.
const keyJSON = "REPO_SIGNING_KEY.json"

// composeList writes a list of modules in lime-compiler's form. What parseList reads of it is entries.
func composeList(entries []Entry) []byte {
	var b bytes.Buffer
	b.WriteString(xmlHead + "<modules>\n")
	for _, e := range entries {
		b.WriteString("  <module type=\"lime\">\n")
		for _, f := range []struct{ key, value string }{
			{"name", e.Name}, {"arch", e.Arch}, {"checksum", e.Checksum}, {"version", e.Release}, {"packager", e.Packager},
		} {
			fmt.Fprintf(&b, "    <%s>%s</%[1]s>\n", f.key, escape(f.value))
		}
		fmt.Fprintf(&b, "    <location href=\"%s\"/>\n    <signature href=\"%s\"/>\n    <platform>%s</platform>\n  </module>\n", escape(e.Path), escape(e.Signature), escape(e.Platform))
	}
	b.WriteString("</modules>\n")
	return b.Bytes()
}

const xmlHead = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

// composeRepomd writes repomd.xml.
func composeRepomd(r *repomd, now time.Time) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s<metadata>\n  <revision>%d</revision>\n", xmlHead, r.revision)
	for _, kind := range slices.Sorted(maps.Keys(r.lists)) {
		l := r.lists[kind]
		fmt.Fprintf(&b, "  <data type=\"%s\">\n    <checksum>%s</checksum>\n    <open_checksum>%s</open_checksum>\n    <location href=\"%s\"/>\n    <timestamp>%d</timestamp>\n",
			escape(kind), l.checksum, l.open, escape(l.href), now.Unix())
		for _, f := range []struct {
			key   string
			value int64
		}{{"size", l.size}, {"open_size", l.openSize}} {
			if f.value >= 0 {
				fmt.Fprintf(&b, "    <%s>%d</%[1]s>\n", f.key, f.value)
			}
		}
		b.WriteString("  </data>\n")
	}
	b.WriteString("</metadata>\n")
	return b.Bytes()
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}

// pack packs a list. It has neither name nor time in it, so that a list is packed the same again.
func pack(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// armored is public keys as REPO_SIGNING_KEY.asc holds them.
func armored(keys ...*openpgp.Entity) ([]byte, error) {
	var out bytes.Buffer
	w, err := armor.Encode(&out, "PGP PUBLIC KEY BLOCK", nil)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if err := k.Serialize(w); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// composeKeyJSON is what Margarita Shotgun looks a key up by.
func composeKeyJSON(key *openpgp.Entity) ([]byte, error) {
	data, err := json.Marshal(struct {
		UIDs        []string `json:"uids"`
		Fingerprint string   `json:"fingerprint"`
	}{slices.Sorted(maps.Keys(key.Identities)), fingerprintOf(key)})
	return append(data, '\n'), err
}

// fileName is what lime-compiler calls a module. It knows one machine; others have theirs in the name,
// since a release of theirs may be called the same.
func fileName(release, machine string) string {
	if machine == "x86_64" {
		return "lime-" + release + ".ko"
	}
	return "lime-" + release + "-" + machine + ".ko"
}

// sortEntries orders a list: Margarita Shotgun takes the first of a release, and is for x86-64.
func sortEntries(list []Entry) {
	slices.SortFunc(list, func(a, b Entry) int {
		other := func(e Entry) int {
			if machine(e.Arch) == "x86_64" {
				return 0
			}
			return 1
		}
		if d := strings.Compare(a.Release, b.Release); d != 0 {
			return d
		}
		if d := other(a) - other(b); d != 0 {
			return d
		}
		return strings.Compare(a.Arch+" "+a.Path, b.Arch+" "+b.Path)
	})
}
