package awsfake

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strings"
)

// An X is an XML element: text, or others.
type X struct {
	Name string
	Text string
	Kids []X
}

// el is an element with a value: a string, a number, a boolean, or elements.
func el(name string, v any) X {
	switch v := v.(type) {
	case []X:
		return X{Name: name, Kids: v}
	case X:
		return X{Name: name, Kids: []X{v}}
	}
	return X{Name: name, Text: fmt.Sprint(v)}
}

// list is a list of EC2, whose elements are called item; members is one of the query protocol.
func list(name string, items ...[]X) X    { return named(name, "item", items) }
func members(name string, items ...[]X) X { return named(name, "member", items) }

func named(name, each string, items [][]X) X {
	x := X{Name: name}
	for _, i := range items {
		x.Kids = append(x.Kids, X{Name: each, Kids: i})
	}
	return x
}

// texts is a list of plain values.
func texts(name, each string, values []string) X {
	x := X{Name: name}
	for _, v := range values {
		x.Kids = append(x.Kids, X{Name: each, Text: v})
	}
	return x
}

func (x X) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "<%s>", x.Name)
	if x.Kids == nil {
		xml.EscapeText(b, []byte(x.Text)) //nolint:errcheck // a buffer takes all
	}
	for _, k := range x.Kids {
		k.write(b)
	}
	name, _, _ := strings.Cut(x.Name, " ") // attributes may follow it
	fmt.Fprintf(b, "</%s>", name)
}

// answerXML writes an answer of a query protocol: out is nil or []X.
func answerXML(b *bytes.Buffer, p protocol, action, requestID string, out any, e *Error) {
	kids, _ := out.([]X)
	switch {
	case e != nil && p == ec2Query:
		el("Response", []X{el("Errors", el("Error", []X{el("Code", e.Code), el("Message", e.Message)})), el("RequestID", requestID)}).write(b)
	case e != nil:
		el("ErrorResponse", []X{el("Error", []X{el("Type", "Sender"), el("Code", e.Code), el("Message", e.Message)}), el("RequestId", requestID)}).write(b)
	case p == ec2Query:
		if kids == nil {
			kids = []X{el("return", true)}
		}
		el(action+"Response", append([]X{el("requestId", requestID)}, kids...)).write(b)
	default:
		el(action+"Response", []X{{Name: action + "Result", Kids: kids}, el("ResponseMetadata", el("RequestId", requestID))}).write(b)
	}
}

func mustJSON(v any) []byte {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of our own making
	}
	return b
}
