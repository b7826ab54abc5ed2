package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// jsonVersion is "v" of every message. Fields are only ever added.
const jsonVersion = 1

// message writes one line of JSON to the result: {"v":1,"message_type":kind,...} with
// the fields of v, which must encode to an object.
func (c *console) message(kind string, v any) error {
	line, err := jsonLine(kind, v)
	if err != nil {
		return err
	}
	_, err = c.Write(line)
	return err
}

func jsonLine(kind string, v any) ([]byte, error) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %s message: %w", kind, err)
	}
	fields := bytes.TrimSpace(body.Bytes())
	if len(fields) < 2 || fields[0] != '{' {
		return nil, fmt.Errorf("encode %s message: %T is no object", kind, v)
	}
	head := fmt.Sprintf(`{"v":%d,"message_type":%q`, jsonVersion, kind)
	if len(fields) > 2 {
		head += ","
	}
	return append(append([]byte(head), fields[1:]...), '\n'), nil
}
