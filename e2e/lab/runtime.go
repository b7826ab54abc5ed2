package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Runtime is Lambda, as far as a function sees it: the runtime interface that a function of provided.al2023 asks for its next
// event, and tells what came of it.
type Runtime struct {
	m      *machine
	server *http.Server
	events chan []byte
	ends   chan Ended
	limit  time.Duration

	mu  sync.Mutex
	n   int
	log bytes.Buffer
}

// Write takes what the function logs.
func (r *Runtime) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

// Ended is what a function said of one event: an answer, or an error, which is what makes Lambda deliver it again.
type Ended struct {
	Failed bool
	Body   string
}

// StartFunction runs a function's program, with an environment and nothing else, and time for each event.
func StartFunction(program string, env []string, limit time.Duration) (*Runtime, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Runtime{events: make(chan []byte), ends: make(chan Ended, 1), limit: limit}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	go r.server.Serve(l) //nolint:errcheck // it is closed
	r.m = &machine{done: make(chan struct{}), cmd: exec.Command(program)}
	r.m.cmd.Env = append([]string{"AWS_LAMBDA_RUNTIME_API=" + l.Addr().String(), "AWS_LAMBDA_FUNCTION_NAME=lockdown"}, env...)
	r.m.cmd.Stdout = r
	r.m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := r.m.start(); err != nil {
		r.server.Close()
		return nil, fmt.Errorf("start the function: %w", err)
	}
	return r, nil
}

// Invoke hands an event to the function, and waits for what it says.
func (r *Runtime) Invoke(ctx context.Context, event []byte) (Ended, error) {
	ctx, cancel := context.WithTimeout(ctx, r.limit+10*time.Second)
	defer cancel()
	select {
	case r.events <- event:
	case <-ctx.Done():
		return Ended{}, fmt.Errorf("the function asks for nothing: %w", ctx.Err())
	}
	select {
	case e := <-r.ends:
		return e, nil
	case <-ctx.Done():
		return Ended{}, fmt.Errorf("the function does not end: %w", ctx.Err())
	}
}

// Log is what the function wrote.
func (r *Runtime) Log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// Close ends the function.
func (r *Runtime) Close() error {
	r.m.kill()
	return r.server.Close()
}

// ServeHTTP implements the runtime interface, version 2018-06-01.
func (r *Runtime) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch path.Base(req.URL.Path) {
	case "next":
		select {
		case event := <-r.events:
			r.mu.Lock()
			r.n++
			id := fmt.Sprintf("invocation-%d", r.n)
			r.mu.Unlock()
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", id)
			w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(r.limit).UnixMilli(), 10))
			w.Write(event) //nolint:errcheck // the function is gone then
		case <-req.Context().Done():
		}
	case "response", "error":
		body, err := io.ReadAll(req.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		r.ends <- Ended{Failed: path.Base(req.URL.Path) == "error", Body: string(body)}
	default:
		fmt.Fprintln(os.Stderr, "runtime interface: unknown call", req.URL.Path)
		w.WriteHeader(http.StatusNotFound)
	}
}
