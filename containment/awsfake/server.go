package awsfake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// A service is one of AWS's, by the name that its requests are signed for.
type service struct {
	prefix string // of its IAM actions
	proto  protocol
	ops    map[string]operation
	// route finds the operation of a REST request; nil: the form's Action is its name.
	route func(*Request) string
}

// A protocol is how a service answers.
type protocol int

const (
	ec2Query protocol = iota
	query
	restJSON
	targetJSON // JSON, with the operation's name in X-Amz-Target
	restXML    // of S3: its answers are *rest
)

// An operation is one call of a service. It is called with the cloud locked.
type operation struct {
	do func(*Request) (any, error)
	// on names the resources that the call is about, as ARNs; nil: "*".
	on func(*Request) []string
	// writes says that it changes something.
	writes bool
	// action is that of IAM where it is not the operation's name.
	action string
	// also is another action that the call needs.
	also string
}

// A Request is one call as its operation sees it.
type Request struct {
	Cloud     *Cloud
	Account   *Account
	Region    *Region
	Principal *Principal
	Action    string
	Form      url.Values    // of the query protocols
	HTTP      *http.Request // of REST
	Body      []byte
	Path      map[string]string // what route found in the path
}

// An Error is what a service answers instead.
type Error struct {
	Code    string
	Message string
	Status  int // 0: 400
	// Header is what else a REST service tells.
	Header map[string]string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func fail(code, format string, v ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, v...)}
}

// serve answers a request. What is asked of an unknown service, account or operation is a mistake of the
// test, and answered so that it is found.
func (c *Cloud) serve(w http.ResponseWriter, req *http.Request) {
	if isTunnel(req) {
		c.serveTunnel(w, req)
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	key, region, name := scope(req.Header.Get("Authorization"))
	svc := c.services[name]
	if svc == nil {
		http.Error(w, fmt.Sprintf("awsfake: no service %q", name), http.StatusNotImplemented)
		return
	}
	r := &Request{Cloud: c, HTTP: req, Body: body}
	if svc.proto == ec2Query || svc.proto == query {
		if r.Form, err = url.ParseQuery(string(body)); err != nil {
			http.Error(w, "awsfake: "+err.Error(), http.StatusBadRequest)
			return
		}
	}
	r.Action = r.Form.Get("Action")
	if target := req.Header.Get("X-Amz-Target"); svc.proto == targetJSON {
		r.Action = target[strings.LastIndexByte(target, '.')+1:]
	}
	if svc.route != nil {
		r.Action = svc.route(r)
	}
	answer, err := c.call(r, svc, key, region)
	if errors.Is(err, errHangUp) {
		panic(http.ErrAbortHandler)
	}
	c.answer(w, svc, r.Action, answer, err)
}

// errHangUp stands for an answer that never comes.
var errHangUp = errors.New("connection lost")

// call makes a call: authorised, recorded, with what is to go wrong.
func (c *Cloud) call(r *Request, svc *service, key, region string) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil, errHangUp
	}
	if r.Principal = c.principals[key]; r.Principal == nil {
		return nil, &Error{Code: "InvalidClientTokenId", Message: "The security token included in the request is invalid.", Status: http.StatusForbidden}
	}
	r.Account = c.account(r.Principal.Account)
	r.Region = r.Account.region(region)
	op, ok := svc.ops[r.Action]
	if !ok {
		return nil, &Error{Code: "InvalidAction", Message: fmt.Sprintf("awsfake: no operation %q of %s", r.Action, svc.prefix), Status: http.StatusNotImplemented}
	}
	call := Call{
		Seq: len(c.calls) + 1, Operation: r.Action, Action: svc.prefix + ":" + r.Action, Resources: []string{"*"}, Account: r.Account.ID, Region: region,
		Principal: r.Principal.ARN, Time: c.now, Form: r.Form, Writes: op.writes, DryRun: r.Form.Get("DryRun") == "true",
	}
	fmt.Sscanf(r.HTTP.Header.Get("Amz-Sdk-Request"), "attempt=%d", &call.Attempt) //nolint:errcheck // 0: the SDK did not say
	if op.action != "" {
		call.Action = op.action
	}
	if op.on != nil {
		call.Resources = op.on(r)
	}
	if svc.proto == ec2Query && r.Form.Has("TagSpecification.1.ResourceType") {
		call.Also = "ec2:CreateTags"
	}
	if op.also != "" {
		call.Also = op.also
	}
	if call.Writes && !call.DryRun {
		c.writes++
		call.Write = c.writes
	}
	out, err := c.decide(r, op, &call)
	if err != nil {
		call.Error = err.Error()
	}
	c.calls = append(c.calls, call)
	return out, err
}

// decide makes the call as far as its fault and its caller's policy let it.
func (c *Cloud) decide(r *Request, op operation, call *Call) (any, error) {
	var f Fault
	if c.Fault != nil {
		f = c.Fault(call)
	}
	if f.Error != nil && !f.After {
		return nil, f.Error
	}
	if f.Crash || f.Lost {
		if f.After {
			if _, err := c.perform(r, op, call); err != nil {
				call.Error = err.Error()
			}
		}
		if f.Crash {
			c.dead = true
			if c.Died != nil {
				c.Died()
			}
		}
		return nil, errHangUp
	}
	out, err := c.perform(r, op, call)
	if err == nil && f.Error != nil {
		err = f.Error
	}
	return out, err
}

func (c *Cloud) perform(r *Request, op operation, call *Call) (any, error) {
	if r.Region.Off {
		return nil, &Error{Code: "OptInRequired", Message: "You are not subscribed to this service. Please go to http://aws.amazon.com to subscribe.", Status: http.StatusForbidden}
	}
	if err := authorize(r.Principal, call); err != nil {
		return nil, err
	}
	if call.DryRun {
		return nil, &Error{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.", Status: http.StatusPreconditionFailed}
	}
	return op.do(r)
}

// scope reads access key, region and service out of a signature of version 4.
func scope(authorization string) (key, region, service string) {
	_, rest, _ := strings.Cut(authorization, "Credential=")
	credential, _, _ := strings.Cut(rest, ",")
	f := strings.Split(credential, "/")
	if len(f) < 5 {
		return "", "", ""
	}
	return f[0], f[2], f[3]
}

// answer writes an answer in the service's protocol.
func (c *Cloud) answer(w http.ResponseWriter, svc *service, action string, out any, err error) {
	const requestID = "00000000-0000-4000-8000-000000000000"
	var e *Error
	if err != nil && !errors.As(err, &e) {
		e = &Error{Code: "InternalError", Message: err.Error(), Status: http.StatusInternalServerError}
	}
	var b bytes.Buffer
	status := http.StatusOK
	if e != nil {
		if status = e.Status; status == 0 {
			status = http.StatusBadRequest
		}
	}
	w.Header().Set("X-Amzn-Requestid", requestID)
	w.Header().Set("Date", c.Now().UTC().Format(http.TimeFormat))
	switch svc.proto {
	case restXML:
		status = answerS3(w, &b, status, out, e)
	case restJSON, targetJSON:
		w.Header().Set("Content-Type", "application/json")
		if svc.proto == targetJSON {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		}
		if e != nil {
			w.Header().Set("X-Amzn-Errortype", e.Code)
			out = map[string]string{"__type": e.Code, "Type": "User", "Message": e.Message, "message": e.Message}
		}
		b.Write(mustJSON(out))
	default:
		w.Header().Set("Content-Type", "text/xml")
		answerXML(&b, svc.proto, action, requestID, out, e)
	}
	w.WriteHeader(status)
	w.Write(b.Bytes()) //nolint:errcheck // the client is gone then
}

// field is one part of an ARN.
func field(arn string, n int) string {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 {
		return ""
	}
	return f[n]
}
