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

// Write renders the page. The same case gives the same bytes.
func (c *Case) Write(w io.Writer) error {
	hash := sha256.Sum256([]byte(style))
	p := c.page()
	harmless(reflect.ValueOf(&p))
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, struct {
		page
		Style template.CSS
		// Policy forbids everything but this one style sheet: no script, no request.
		Policy string
	}{p, template.CSS(style), "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'"})
	if err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}
