package hosts

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
)

// A decoder fills the structs from the tree of a document and notes everything that is
// wrong. The library's own decoder stops at the first fault.
type decoder struct {
	file     string
	lines    [][]byte
	o        Options
	anchors  map[string][]anchor
	problems []Problem
	places   map[string]place // of keys that are there: "hosts[2].jump_host.port"
	steps    int
}

// Limits on what aliases can make of a small file.
const (
	maxSteps = 1 << 20
	maxAlias = 16
)

func (d *decoder) failAt(at place, format string, args ...any) {
	p := at.problem(d.file, d.lines, fmt.Sprintf(format, args...))
	if !slices.Contains(d.problems, p) { // an alias leads to one fault several times
		d.problems = append(d.problems, p)
	}
}

func (d *decoder) fail(n ast.Node, format string, args ...any) {
	d.failAt(placeOf(start(n)), format, args...)
}

// failKey is about a key that is known to be in the file.
func (d *decoder) failKey(path, format string, args ...any) {
	d.failAt(d.places[path], format, args...)
}

func (d *decoder) decode(doc ast.Node, f *File) {
	d.value(doc, reflect.ValueOf(f).Elem(), "", "")
}

var (
	secretType  = reflect.TypeFor[*Secret]()
	stringsType = reflect.TypeFor[Strings]()
	countType   = reflect.TypeFor[Count]()
)

// value fills v from n. An empty value leaves v alone, as if the key were not there.
func (d *decoder) value(n ast.Node, v reflect.Value, path, is string) {
	if n == nil {
		return
	}
	node := d.plain(n)
	if node == nil {
		return
	}
	if _, null := node.(*ast.NullNode); null {
		return
	}
	want := func(what string) {
		d.fail(n, "%s is %s, want %s%s", orFile(path), kindOf(node), what, quoteHint(node, what))
	}
	switch {
	case v.Type() == secretType:
		d.secret(n, node, v, path)
		return
	case v.Type() == stringsType:
		list, ok := node.(*ast.SequenceNode)
		if !ok {
			if s, ok := d.text(n, path, is, "text or a list of texts"); ok && s != "" {
				v.Set(reflect.ValueOf(Strings{s}))
			}
			return
		}
		for i, one := range list.Values {
			at := fmt.Sprintf("%s[%d]", path, i)
			d.note(at, placeOf(start(one)))
			if s, ok := d.text(one, at, is, "text"); ok && s != "" {
				v.Set(reflect.Append(v, reflect.ValueOf(s)))
			}
		}
		return
	case v.Type() == countType:
		if s, ok := node.(*ast.StringNode); ok && s.Value == "auto" {
			v.SetInt(int64(Auto))
			return
		}
		if k, ok := integer(node); ok && k >= 1 && k <= most[is] {
			v.SetInt(k)
			return
		}
		d.fail(n, "%s is %s, want a number from 1 to %d, or auto", path, describe(node), most[is])
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		before := len(d.problems)
		d.value(n, p.Elem(), path, is)
		if len(d.problems) == before {
			v.Set(p)
		}
	case reflect.String:
		if s, ok := d.text(n, path, is, "text"); ok {
			v.SetString(s)
		}
	case reflect.Int:
		k, ok := integer(node)
		switch {
		case is == "port" && (!ok || k < 1 || k > math.MaxUint16):
			d.fail(n, "%s is %s, want a number from 1 to 65535", path, describe(node))
		case !ok:
			want("a number")
		default:
			v.SetInt(k)
		}
	case reflect.Bool:
		b, ok := boolean(node)
		if !ok {
			want("true or false")
			return
		}
		v.SetBool(b)
	case reflect.Slice:
		list, ok := node.(*ast.SequenceNode)
		if !ok {
			want("a list, each entry after a dash")
			return
		}
		for i, one := range list.Values {
			at := fmt.Sprintf("%s[%d]", path, i)
			d.note(at, placeOf(start(one)))
			e := reflect.New(v.Type().Elem()).Elem()
			if e.Kind() == reflect.Struct && isNull(d.plain(one)) {
				d.fail(one, "%s is empty", at)
				continue
			}
			d.value(one, e, at, is)
			v.Set(reflect.Append(v, e))
		}
	case reflect.Map:
		entries, ok := d.entries(node, 0)
		if !ok {
			want("a block of keys")
			return
		}
		m := reflect.MakeMap(v.Type())
		for _, e := range entries {
			at := path + "." + e.key
			d.note(at, e.at)
			if s, ok := d.text(e.value, at, "", "text"); ok {
				m.SetMapIndex(reflect.ValueOf(e.key), reflect.ValueOf(s))
			}
		}
		v.Set(m)
	case reflect.Struct:
		entries, ok := d.entries(node, 0)
		if !ok {
			want("a block of keys")
			return
		}
		fields := fieldsOf(v.Type())
		for _, e := range entries {
			i := slices.IndexFunc(fields, func(f field) bool { return f.name == e.key })
			if i < 0 {
				e.at.cut = e.at.column + len([]rune(e.key)) // it may be a misspelt password
				d.failAt(e.at, "unknown key %q%s%s", e.key, inside(path), suggestion(e.key, fields))
				continue
			}
			at := join(path, e.key)
			d.note(at, e.at)
			d.value(e.value, v.FieldByIndex(fields[i].index), at, fields[i].is)
		}
		d.needs(n, path, fields, entries)
		if c, ok := v.Addr().Interface().(*Containment); ok {
			c.There = true
		}
	default:
		panic("hosts: no decoding for " + v.Type().String())
	}
}

// needs tells of keys that a block lacks, or has beside another that takes its place.
func (d *decoder) needs(n ast.Node, path string, fields []field, entries []entry) {
	var one, have []string
	for _, f := range fields {
		there := slices.ContainsFunc(entries, func(e entry) bool { return e.key == f.name && !isEmpty(d.plain(e.value)) })
		switch {
		case f.need == "true" && !there:
			d.fail(n, "%s has no %s", path, f.name)
		case f.need == "one":
			if one = append(one, f.name); there {
				have = append(have, f.name)
			}
		}
	}
	switch {
	case len(one) > 0 && len(have) == 0:
		d.fail(n, "%s has no %s", path, strings.Join(one, ", and no "))
	case len(have) > 1:
		d.failKey(join(path, have[1]), "%s: %s exclude each other", path, strings.Join(have, " and "))
	}
}

// note remembers where a key stands; the first place of an alias counts.
func (d *decoder) note(path string, at place) {
	if _, have := d.places[path]; !have {
		d.places[path] = at
	}
}

// text returns a text in its format. An empty one is as none.
func (d *decoder) text(n ast.Node, path, is, want string) (string, bool) {
	node := d.plain(n)
	var s string
	switch v := node.(type) {
	case nil:
		return "", false
	case *ast.NullNode:
		return "", true
	case *ast.StringNode:
		s = v.Value
	case *ast.LiteralNode:
		s = v.Value.Value
	default:
		d.fail(n, "%s is %s, want %s%s", path, kindOf(node), want, quoteHint(node, want))
		return "", false
	}
	if s == "" {
		return "", true
	}
	if strings.ContainsAny(s, "\x00\n\r") && is != "" {
		d.fail(n, "%s has a line break", path)
		return "", false
	}
	if check := formats[is].check; check != nil {
		if err := check(s); err != nil {
			at := placeOf(start(n))
			if _, hide := errors.AsType[*hiddenError](err); hide || errors.Is(err, agefile.ErrSecretKey) {
				at.cut = max(at.column-1, 1)
			}
			d.failAt(at, "%s: %v", path, err)
			return "", false
		}
	}
	if leads, must := isPath(is, s); leads {
		s = d.path(s)
		if must && d.o.Exists != nil {
			if err := d.o.Exists(s); err != nil {
				d.fail(n, "%s: %v", path, err)
				return "", false
			}
		}
	}
	return s, true
}

// path makes a path absolute: ~ is the home, others start from the file's folder.
func (d *decoder) path(s string) string {
	if rest, ok := strings.CutPrefix(s, "~"); ok && d.o.Home != "" && (rest == "" || rest[0] == '/' || rest[0] == filepath.Separator) {
		return filepath.Join(d.o.Home, rest)
	}
	if !filepath.IsAbs(s) && d.o.Dir != "" {
		return filepath.Join(d.o.Dir, s)
	}
	return s
}

// secret reads a secret or where it comes from. What it holds is in no message.
func (d *decoder) secret(n, node ast.Node, v reflect.Value, path string) {
	s := newSecret()
	switch node.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		text, ok := d.text(n, path, "", "")
		if !ok || text == "" {
			return
		}
		s.text = strings.TrimSuffix(text, "\n")
		at := placeOf(start(n))
		at.secret = true
		d.places[path] = at
	case *ast.MappingNode, *ast.MappingValueNode:
		before := len(d.problems)
		d.value(n, reflect.ValueOf(s).Elem(), path, "")
		given := 0
		for _, set := range []bool{s.File != "", s.Env != "", len(s.Command) > 0} {
			if set {
				given++
			}
		}
		if given != 1 {
			if len(d.problems) == before {
				d.fail(n, "%s wants one of file, env and command", path)
			}
			return
		}
		if len(s.Command) > 0 && strings.ContainsRune(s.Command[0], '/') {
			s.Command[0] = d.path(s.Command[0])
		}
	default:
		d.fail(n, "%s is %s, want text%s, or a block with file, env or command", path, kindOf(node), quoteHint(node, "text"))
		return
	}
	v.Set(reflect.ValueOf(s))
}
