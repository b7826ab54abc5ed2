package awsfake

import (
	"encoding/base64"
	"time"
)

// A Console is what an instance wrote on its serial console.
type Console struct {
	// Posted is what EC2 kept at a moment after the last start; Latest, of Nitro alone, what it has now.
	Posted, Latest string
	At             time.Time
}

// mostConsole is how much of a console's end EC2 gives.
const mostConsole = 64 << 10

var consoleOps = map[string]operation{"GetConsoleOutput": {do: getConsoleOutput, on: on("instance", "InstanceId")}}

func getConsoleOutput(r *Request) (any, error) {
	i := r.Region.Instances[r.Form.Get("InstanceId")]
	if i == nil {
		return nil, fail("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", r.Form.Get("InstanceId"))
	}
	text := i.Console.Posted
	if r.Form.Get("Latest") == "true" {
		if r.Region.Types[i.Type].Xen {
			return nil, fail("UnsupportedOperation", "This instance type does not support retrieving the latest console logs.")
		}
		text = i.Console.Latest
	}
	answer := []X{el("instanceId", i.ID), el("timestamp", i.Console.At.UTC().Format(time.RFC3339))}
	if text != "" { // right after the start there is none
		answer = append(answer, el("output", base64.StdEncoding.EncodeToString([]byte(text[max(0, len(text)-mostConsole):]))))
	}
	return answer, nil
}
