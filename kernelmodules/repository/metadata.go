package repository

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// Bounds on what a repository may hold. The largest that lime-compiler ever wrote
// had some 4000 modules in a list of 2 MB.
const (
	maxRepomd  = 1 << 20
	maxPacked  = 8 << 20  // a list, packed
	maxList    = 32 << 20 // a list, unpacked
	maxEntries = 100_000
	maxDepth   = 16 // of XML elements
	maxText    = 1 << 10
)

// A repomd is repodata/repomd.xml: which lists there are.
type repomd struct {
	revision uint64
	lists    map[string]list // by type
}

// A list is one <data> of repomd.xml.
type list struct {
	href     string
	checksum string // SHA-256 of the packed list
	open     string // of the unpacked one
	size     int64  // bytes, -1 if it is not told
	openSize int64
}

// An Entry is one module of a list.
type Entry struct {
	Name      string `json:"name"` // of the file
	Release   string `json:"release"`
	Arch      string `json:"arch"`
	Checksum  string `json:"checksum"` // SHA-256 of the file as it is stored
	Path      string `json:"path"`     // below the repository
	Signature string `json:"signature,omitempty"`
	Packager  string `json:"packager,omitempty"`
	Platform  string `json:"platform,omitempty"`
}

// href is a reference to a file of the repository.
type href struct {
	Href string `xml:"href,attr"`
}

// checksum is a digest; createrepo says of which kind, lime-compiler does not.
type checksum struct {
	Type  string `xml:"type,attr"`
	Value string `xml:",chardata"`
}

// parseRepomd reads repomd.xml. It is safe to use on any bytes.
func parseRepomd(data []byte) (*repomd, error) {
	var doc struct {
		XMLName  xml.Name `xml:"metadata"`
		Revision []string `xml:"revision"`
		Data     []struct {
			Type         string     `xml:"type,attr"`
			Checksum     []checksum `xml:"checksum"`
			OpenChecksum []checksum `xml:"open_checksum"`
			Location     []href     `xml:"location"`
			Size         []string   `xml:"size"`
			OpenSize     []string   `xml:"open_size"`
		} `xml:"data"`
	}
	if err := decodeXML(data, &doc); err != nil {
		return nil, err
	}
	text, err := one("revision", doc.Revision)
	if err != nil {
		return nil, err
	}
	r := &repomd{lists: map[string]list{}}
	if r.revision, err = strconv.ParseUint(strings.TrimSpace(text), 10, 63); err != nil {
		return nil, fmt.Errorf("its revision %.40q is not a number", text)
	}
	for _, d := range doc.Data {
		l := list{}
		what := func(err error) error { return fmt.Errorf("list %.40q: %w", d.Type, err) }
		if d.Type == "" || len(d.Type) > 64 {
			return nil, fmt.Errorf("it has a list with the type %.40q", d.Type)
		}
		if _, twice := r.lists[d.Type]; twice {
			return nil, what(errors.New("is there twice"))
		}
		if l.checksum, err = oneDigest("checksum", d.Checksum); err != nil {
			return nil, what(err)
		}
		if l.open, err = oneDigest("open_checksum", d.OpenChecksum); err != nil {
			return nil, what(err)
		}
		at, err := one("location", d.Location)
		if err != nil {
			return nil, what(err)
		}
		if l.href, err = safePath(at.Href); err != nil {
			return nil, what(err)
		}
		if l.size, err = size("size", d.Size, maxPacked); err != nil {
			return nil, what(err)
		}
		if l.openSize, err = size("open_size", d.OpenSize, maxList); err != nil {
			return nil, what(err)
		}
		r.lists[d.Type] = l
	}
	return r, nil
}

// parseList reads a list of modules. It is safe to use on any bytes.
func parseList(data []byte) ([]Entry, error) {
	var doc struct {
		XMLName xml.Name `xml:"modules"`
		Module  []struct {
			Type      string     `xml:"type,attr"`
			Name      []string   `xml:"name"`
			Arch      []string   `xml:"arch"`
			Checksum  []checksum `xml:"checksum"`
			Version   []string   `xml:"version"`
			Packager  []string   `xml:"packager"`
			Location  []href     `xml:"location"`
			Signature []href     `xml:"signature"`
			Platform  []string   `xml:"platform"`
		} `xml:"module"`
	}
	if err := decodeXML(data, &doc); err != nil {
		return nil, err
	}
	var out []Entry
	sums := map[string]string{} // by path
	for i, m := range doc.Module {
		if m.Type != "lime" {
			continue
		}
		var e Entry
		var errs []error
		text := func(key string, list []string) string {
			s, err := one(key, list)
			if len(s) > maxText {
				err = fmt.Errorf("its %s has %d bytes", key, len(s))
			}
			errs = append(errs, err)
			return strings.TrimSpace(s)
		}
		e.Name, e.Arch, e.Release = text("name", m.Name), text("arch", m.Arch), text("version", m.Version)
		if len(m.Packager) > 0 {
			e.Packager = text("packager", m.Packager)
		}
		if len(m.Platform) > 0 {
			e.Platform = text("platform", m.Platform)
		}
		var err error
		e.Checksum, err = oneDigest("checksum", m.Checksum)
		errs = append(errs, err)
		at, err := one("location", m.Location)
		errs = append(errs, err)
		if err == nil {
			e.Path, err = safePath(at.Href)
			errs = append(errs, err)
		}
		if len(m.Signature) > 0 {
			s, err := one("signature", m.Signature)
			if err == nil && s.Href != "" { // lime-compiler writes an empty one for none
				e.Signature, err = safePath(s.Href)
			}
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			return nil, fmt.Errorf("module %d (%.60q): %s", i+1, e.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		switch sum, twice := sums[e.Path]; {
		case twice && sum != e.Checksum:
			return nil, fmt.Errorf("%s is there twice, with different checksums", e.Path)
		case twice:
			continue
		}
		sums[e.Path] = e.Checksum
		out = append(out, e)
	}
	return out, nil
}

// one returns the only value of a key: of two, another program might take the other.
func one[T any](key string, list []T) (v T, err error) {
	if len(list) != 1 {
		return v, fmt.Errorf("it has %d values for %s, want one", len(list), key)
	}
	return list[0], nil
}

func oneDigest(key string, list []checksum) (string, error) {
	sum, err := one(key, list)
	if err != nil {
		return "", err
	}
	if sum.Type != "" && sum.Type != "sha256" {
		return "", fmt.Errorf("its %s is of the kind %.20q, want sha256", key, sum.Type)
	}
	s := strings.ToLower(strings.TrimSpace(sum.Value))
	if b, err := hex.DecodeString(s); err != nil || len(b) != 32 {
		return "", fmt.Errorf("its %s %.80q is no SHA-256", key, s)
	}
	return s, nil
}

func size(key string, list []string, most int64) (int64, error) {
	if len(list) == 0 {
		return -1, nil
	}
	s, err := one(key, list)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("its %s %.40q is not a number up to %d", key, s, most)
	}
	return n, nil
}

// safePath returns a reference that stays below the repository, whatever reads it: a
// file system, a URL, a shell.
func safePath(s string) (string, error) {
	s = strings.TrimPrefix(s, "./")
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+~-/", r)
	}
	if len(s) > 512 || !fs.ValidPath(s) || s == "." || strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) >= 0 {
		return "", fmt.Errorf("its location %.80q leads out of the repository, or has characters that no file of one has", s)
	}
	for part := range strings.SplitSeq(s, "/") {
		if part[0] == '.' || part[0] == '-' || part[0] == '~' || part[len(part)-1] == '.' {
			return "", fmt.Errorf("its location %.80q has a part that starts with a dot, a dash or a tilde, or ends in a dot", s)
		}
	}
	return s, nil
}

// decodeXML reads a document into v. A document type, which could define entities, deep
// nesting and what follows the document are refused.
func decodeXML(data []byte, v any) error {
	d := xml.NewDecoder(bytes.NewReader(data))
	depth, roots, entries := 0, 0, 0
	for {
		t, err := d.RawToken()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.Directive:
			return errors.New("it has a document type, which no list needs")
		case xml.StartElement:
			switch depth++; depth {
			case 1:
				roots++
			case 2:
				// Counted before they are kept: an element of 24 bytes takes ten times as much.
				if entries++; entries > maxEntries {
					return fmt.Errorf("it has more than %d entries", maxEntries)
				}
			}
			if depth > maxDepth || len(t.Attr) > maxDepth {
				return fmt.Errorf("it nests elements deeper than %d, or one has more attributes", maxDepth)
			}
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 && len(bytes.TrimSpace(t)) > 0 {
				return errors.New("it has text outside its elements")
			}
		}
	}
	if roots != 1 {
		return fmt.Errorf("it has %d documents, want one", roots)
	}
	return xml.Unmarshal(data, v)
}

// unpackList unpacks a list within its bounds.
func unpackList(data []byte, want int64) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("is not packed with gzip: %w", err)
	}
	limit := int64(maxList)
	if want >= 0 {
		limit = want
	}
	out, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("is truncated: %w", err)
	case err != nil:
		return nil, fmt.Errorf("is damaged: %w", err)
	case int64(len(out)) > limit:
		return nil, fmt.Errorf("unpacks to more than %d bytes", limit)
	case want >= 0 && int64(len(out)) != want:
		return nil, fmt.Errorf("unpacks to %d bytes, want %d", len(out), want)
	}
	return out, nil
}
