// Command isfdiff holds a symbol file of ours against dwarf2json's: isfdiff OURS THEIRS, both JSON, plain.
// It prints counts and every difference in what both have. It is for e2e/symbols.sh and for people.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
)

type isf map[string]map[string]map[string]any

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: isfdiff OURS THEIRS")
		os.Exit(64)
	}
	ours, theirs := read(os.Args[1]), read(os.Args[2])
	for _, section := range []string{"base_types", "user_types", "enums", "symbols"} {
		compare(section, ours[section], theirs[section])
	}
}

func read(name string) isf {
	raw, err := os.ReadFile(name)
	var all map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	out := isf{}
	for section, text := range all {
		if section == "metadata" || err != nil {
			continue
		}
		var m map[string]map[string]any
		err = json.Unmarshal(text, &m)
		out[section] = m
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	return out
}

func compare(section string, ours, theirs map[string]map[string]any) {
	equal, untyped, ourOnly, theirOnly := 0, 0, []string{}, []string{}
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		o, t := ours[name], theirs[name]
		switch {
		case t == nil:
			ourOnly = append(ourOnly, name)
		case reflect.DeepEqual(o, t):
			equal++
		case section == "symbols" && o["address"] == t["address"] && void(o):
			untyped++
		default:
			fmt.Printf("%s %s: %s\n", section, name, strings.Join(differences("", o, t), "; "))
		}
	}
	for name := range theirs {
		if ours[name] == nil {
			theirOnly = append(theirOnly, name)
		}
	}
	slices.Sort(theirOnly)
	fmt.Printf("%s: %d ours, %d theirs, %d equal, %d without a type, %d only ours %.20q, %d only theirs %.20q\n", section, len(ours), len(theirs), equal, untyped,
		len(ourOnly), ourOnly[:min(len(ourOnly), 20)], len(theirOnly), theirOnly[:min(len(theirOnly), 20)])
}

func void(symbol map[string]any) bool {
	t, _ := symbol["type"].(map[string]any)
	return t["name"] == "void"
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
