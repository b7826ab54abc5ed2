package hosts

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const docs = "../../docs/"

func TestSchemaIsCurrent(t *testing.T) {
	path := docs + "hosts.schema.json"
	if *update {
		if err := os.WriteFile(path, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(Schema()), string(have)); d != "" {
		t.Errorf("%s is not current; run go test ./acquire/hosts -update\n%s", path, d)
	}
}

// valid asks an independent reader of schemas.
func valid(t *testing.T, text []byte) error {
	t.Helper()
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("hosts.schema.json", schema); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("hosts.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatalf("%v\n%s", err, asJSON)
	}
	return s.Validate(v)
}

// TestExamples: the schema and the reader agree on what is right.
func TestExamples(t *testing.T) {
	for _, name := range []string{docs + "hosts.example.yml", "testdata/margarita.yml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(name, data, Options{Dir: filepath.Dir(name)}); err != nil {
			t.Errorf("%v", err)
		}
		// Editors know YAML 1.2, in which yes is text.
		data = bytes.ReplaceAll(data, []byte("enabled: yes"), []byte("enabled: true"))
		if err := valid(t, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestExampleIsComplete: the example shows every key.
func TestExampleIsComplete(t *testing.T) {
	data, err := os.ReadFile(docs + "hosts.example.yml")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(docs + "hosts.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(fieldsOf(reflect.TypeFor[File]()), append(fieldsOf(reflect.TypeFor[Host]()), fieldsOf(secretType.Elem())...)...) {
		if !bytes.Contains(data, []byte(f.name+":")) {
			t.Errorf("the example has no %s", f.name)
		}
		if !bytes.Contains(doc, []byte("`"+f.name)) {
			t.Errorf("docs/hosts.md has no `%s`", f.name)
		}
	}
}

// TestSchemaRefuses: of the faults, the schema finds those that are about one value.
func TestSchemaRefuses(t *testing.T) {
	refused := map[string]bool{"unknown keys": true, "types": true, "ports": true, "addresses": true, "secrets": true,
		"pins": true, "workers": true, "no workers": true, "connections": true, "compressors": true, "sections": true, "no map": true}
	for _, tt := range faults {
		if refused[tt.name] && valid(t, []byte(tt.text)) == nil {
			t.Errorf("%s: the schema has nothing to say", tt.name)
		}
	}
}
