package hosts

import (
	"fmt"
	"reflect"
	"strings"
)

// A field is one key of a block.
type field struct {
	name, is, doc string
	need          string // "true": there must be one; "one": exactly one of these
	index         []int
	typ           reflect.Type
}

// fieldsOf lists the keys of a block, in the order of the struct.
func fieldsOf(t reflect.Type) (out []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("yaml")
		switch {
		case tag == ",inline":
			for _, in := range fieldsOf(f.Type) {
				in.index = append([]int{i}, in.index...)
				out = append(out, in)
			}
		case tag != "" && tag != "-":
			out = append(out, field{tag, f.Tag.Get("is"), f.Tag.Get("doc"), f.Tag.Get("need"), []int{i}, f.Type})
		}
	}
	return out
}

// suggestion helps with a key that is not known.
func suggestion(key string, fields []field) string {
	best, least := "", 3
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
		if n := distance(strings.ToLower(key), f.name); n < least && n < len(f.name) {
			best, least = f.name, n
		}
	}
	if best != "" {
		return fmt.Sprintf("; is it %q?", best)
	}
	return "; known are " + strings.Join(names, ", ")
}

// distance is how many letters must be changed, added or dropped to make b of a.
func distance(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
