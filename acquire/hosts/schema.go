package hosts

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// Schema is the JSON Schema of the file, with which editors complete and check it. It
// follows the structs; what keys mean together is for Parse.
func Schema() []byte {
	s := schemaOf(reflect.TypeFor[File](), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "shotglass hosts file"
	s["type"] = "object"
	secret := schemaOf(reflect.TypeFor[Secret](), "")
	delete(secret, "description")
	secret["type"] = "object"
	secret["minProperties"], secret["maxProperties"] = 1, 1
	s["$defs"] = object{"secret": object{"anyOf": []any{
		object{"type": []any{"string", "null"}, "description": "The secret itself, in clear: keep the file from others."},
		secret,
	}}}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		panic("hosts: schema: " + err.Error()) // maps of texts always encode
	}
	return b.Bytes()
}

type object = map[string]any

func schemaOf(t reflect.Type, is string) object {
	null := func(kind string) object { return object{"type": []any{kind, "null"}} }
	switch t {
	case secretType:
		return object{"$ref": "#/$defs/secret"}
	case stringsType:
		one := schemaOf(reflect.TypeFor[string](), is)
		return object{"anyOf": []any{one, object{"type": "array", "items": one}}}
	case countType:
		return object{"anyOf": []any{object{"enum": []any{"auto", nil}}, object{"type": "integer", "minimum": 1, "maximum": most[is]}}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), is)
	case reflect.String:
		s := null("string")
		if p := formats[is].pattern; p != "" {
			s["pattern"] = p
		}
		return s
	case reflect.Int:
		s := null("integer")
		if is == "port" {
			s["minimum"], s["maximum"] = 1, 65535
		}
		return s
	case reflect.Bool:
		return null("boolean")
	case reflect.Map:
		s := null("object")
		s["additionalProperties"] = schemaOf(t.Elem(), "")
		return s
	case reflect.Slice:
		s := null("array")
		item := schemaOf(t.Elem(), is)
		if t.Elem().Kind() == reflect.Struct {
			item["type"] = "object"
		}
		s["items"] = item
		return s
	case reflect.Struct:
		s := null("object")
		s["additionalProperties"] = false
		properties, required, one := object{}, []any{}, []any{}
		for _, f := range fieldsOf(t) {
			p := schemaOf(f.typ, f.is)
			if f.doc != "" {
				p["description"] = f.doc
			}
			properties[f.name] = p
			switch f.need {
			case "true":
				required = append(required, f.name)
			case "one":
				one = append(one, object{"required": []any{f.name}})
			}
		}
		s["properties"] = properties
		if len(required) > 0 {
			s["required"] = required
		}
		if len(one) > 0 {
			s["oneOf"] = one
		}
		return s
	}
	panic("hosts: no schema for " + t.String())
}
