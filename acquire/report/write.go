package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"reflect"
)

//go:embed page.html
var pageText string

//go:embed style.css
var style string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// A head is what every page carries in its head: its looks, and a policy that forbids everything but these: no script, no request.
type head struct {
	Style  template.CSS
	Policy string
}

func styled() head {
	hash := sha256.Sum256([]byte(style))
	return head{template.CSS(style), "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'"}
}

// writePage writes a page whole or not at all.
func writePage(w io.Writer, t *template.Template, data any) error {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Write renders the page. The same case gives the same bytes.
func (c *Case) Write(w io.Writer) error {
	p := c.page()
	harmless(reflect.ValueOf(&p))
	return writePage(w, pageTemplate, struct {
		page
		head
	}{p, styled()})
}
