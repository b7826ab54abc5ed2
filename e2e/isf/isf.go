// Package isf holds two symbol files of Volatility 3 against each other: ours, and one of dwarf2json.
package isf

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
)

// Sections of a symbol file, in the order in which they are compared.
var Sections = []string{"base_types", "user_types", "enums", "symbols"}

// A File is a symbol file: section, name, what it says.
type File map[string]map[string]map[string]any

// Read reads a symbol file of plain JSON.
func Read(name string) (File, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	out := File{}
	for section, text := range all {
		if section == "metadata" {
			continue
		}
		var m map[string]map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", name, section, err)
		}
		out[section] = m
	}
	return out, nil
}

// A Diff is how one section of two files differs.
type Diff struct {
	Section      string
	Ours, Theirs int // entries
	Equal        int
	// Untyped are symbols with the same address, for which ours names no type.
	Untyped            int
	Typed, TheirTyped  int // symbols with a type
	OnlyOurs, OnlyThem []string
	// Differ are the others that both have, with what differs.
	Differ []Difference
}

// A Difference is what differs in what both call by one name.
type Difference struct {
	Name   string
	Places []string
}

// Both is how many names both have.
func (d Diff) Both() int { return d.Ours - len(d.OnlyOurs) }

// Compare compares one section.
func Compare(section string, ours, theirs File) Diff {
	o, t := ours[section], theirs[section]
	d := Diff{Section: section, Ours: len(o), Theirs: len(t)}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		mine, other := o[name], t[name]
		if section == "symbols" && !void(mine) {
			d.Typed++
		}
		switch {
		case other == nil:
			d.OnlyOurs = append(d.OnlyOurs, name)
		case reflect.DeepEqual(mine, other):
			d.Equal++
		case section == "symbols" && mine["address"] == other["address"] && void(mine):
			d.Untyped++
		default:
			d.Differ = append(d.Differ, Difference{name, differences("", mine, other)})
		}
	}
	for name, other := range t {
		if section == "symbols" && !void(other) {
			d.TheirTyped++
		}
		if o[name] == nil {
			d.OnlyThem = append(d.OnlyThem, name)
		}
	}
	slices.Sort(d.OnlyThem)
	return d
}

// String is one line.
func (d Diff) String() string {
	return fmt.Sprintf("%s: %d ours, %d theirs, %d equal, %d without a type, %d differ, %d only ours %.20q, %d only theirs %.20q", d.Section, d.Ours, d.Theirs, d.Equal, d.Untyped, len(d.Differ),
		len(d.OnlyOurs), d.OnlyOurs[:min(len(d.OnlyOurs), 20)], len(d.OnlyThem), d.OnlyThem[:min(len(d.OnlyThem), 20)])
}

func void(symbol map[string]any) bool {
	t, _ := symbol["type"].(map[string]any)
	return t == nil || t["name"] == "void"
}

// differences lists the places where two values differ.
func differences(at string, a, b any) (out []string) {
	x, ok := a.(map[string]any)
	y, same := b.(map[string]any)
	if !ok || !same {
		if reflect.DeepEqual(a, b) {
			return nil
		}
		return []string{fmt.Sprintf("%s is %v, theirs %v", at, a, b)}
	}
	all := maps.Clone(x)
	maps.Copy(all, y)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		out = append(out, differences(at+"."+k, x[k], y[k])...)
	}
	return out
}

// Text is all of a Diff, a line for each difference.
func (d Diff) Text() string {
	var b strings.Builder
	for _, x := range d.Differ {
		fmt.Fprintf(&b, "%s %s: %s\n", d.Section, x.Name, strings.Join(x.Places, "; "))
	}
	return b.String() + d.String() + "\n"
}
