package triage

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Process is one that memory shows.
type Process struct {
	PID     int       `json:"pid"`
	Parent  int       `json:"ppid"`
	Name    string    `json:"name"`
	Args    string    `json:"args,omitempty"`
	Created time.Time `json:"created,omitzero"` // by the host's clock
	// Scanned says that only a scan of all memory shows it, not the kernel's list: it has ended, or it was
	// taken off the list. State is what its exit state says then.
	Scanned bool   `json:"scanned,omitempty"`
	State   string `json:"state,omitempty"`
}

// A Module is one that memory shows.
type Module struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// A Socket is one that memory shows, of one process.
type Socket struct {
	PID    int    `json:"pid"`
	Name   string `json:"name"` // of the process
	Proto  string `json:"proto"`
	Local  string `json:"local"`
	Remote string `json:"remote"`
	State  string `json:"state"`
	NetNS  int64  `json:"netns"`
	Inode  uint64 `json:"inode,omitempty"` // of a Unix socket
}

// A Command is one of a shell's history.
type Command struct {
	PID     int       `json:"pid"`
	Process string    `json:"process"`
	Time    time.Time `json:"time,omitzero"`
	Command string    `json:"command"`
}

// A word is a value that may be a text, a number, or null.
type word string

func (w *word) UnmarshalJSON(b []byte) error {
	var s *string
	if json.Unmarshal(b, &s) == nil {
		if s != nil {
			*w = word(*s)
		}
		return nil
	}
	*w = word(bytes.TrimSpace(b))
	return nil
}

func (w word) number() int64 {
	n, err := strconv.ParseInt(string(w), 0, 64) // addresses and some sizes are in hexadecimal
	if err != nil {
		return -1
	}
	return n
}

// short is a name: none in the kernel is nearly as long as what it is cut to.
func (w word) short() string { return cutText(string(w), maxName) }

// time reads the times of Volatility's JSON; zero if it is none.
func (w word) time() time.Time {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05.999999-07:00"} {
		if t, err := time.Parse(form, string(w)); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// A row has every column that something is made of here.
type row struct {
	PID      word  `json:"PID"`
	TID      word  `json:"TID"`
	Parent   word  `json:"PPID"`
	Name     word  `json:"COMM"`
	Args     word  `json:"ARGS"`
	Created  word  `json:"CREATION TIME"`
	Exit     word  `json:"EXIT_STATE"`
	Module   word  `json:"Name"` // of linux.lsmod until 2.11
	Size     word  `json:"Size"`
	ModName  word  `json:"Module Name"` // from 2.26
	CodeSize word  `json:"Code Size"`
	Process  word  `json:"Process"`
	Owner    word  `json:"Process Name"`
	Time     word  `json:"CommandTime"`
	Command  word  `json:"Command"`
	Family   word  `json:"Family"`
	SockType word  `json:"Type"`
	Proto    word  `json:"Proto"`
	Local    word  `json:"Source Addr"`
	LPort    word  `json:"Source Port"`
	Remote   word  `json:"Destination Addr"`
	RPort    word  `json:"Destination Port"`
	State    word  `json:"State"`
	NetNS    word  `json:"NetNS"`
	Children []row `json:"__children"`
}

// process is the one that a row of linux.pslist is about.
func (x row) process() Process {
	return Process{PID: int(x.PID.number()), Parent: int(x.Parent.number()), Name: x.Name.short(), Created: x.Created.time()}
}

// unix is a Unix socket that has a name and waits for others; connections have none of their own, and come and go. Volatility tells
// the inode as the port.
func (x row) unix() (s Socket, ok bool) {
	inode := x.LPort.number()
	if x.Local == "" || inode <= 0 || x.State != "LISTEN" && x.State != "UNCONNECTED" {
		return s, false
	}
	return Socket{
		PID: int(x.PID.number()), Name: cmp.Or(x.Owner, x.Process).short(), Proto: protoUnix, Local: x.Local.short(), State: x.State.short(), NetNS: x.NetNS.number(), Inode: uint64(inode),
	}, true
}

// protoUnix is the Proto of Unix sockets.
const protoUnix = "unix"

// eachRow reads a JSON array, element by element.
func eachRow[T any](name string, each func(T) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return decodeRows(f, each)
}

func decodeRows[T any](r io.Reader, each func(T) error) error {
	d := json.NewDecoder(r)
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(errors.New("it printed no table"), err)
	}
	for d.More() {
		var v T
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("its table is not whole: %w", err)
		}
		if err := each(v); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("its table is not whole: %w", err)
	}
	return nil
}

// result returns what became of a plugin.
func (r *Report) result(plugin string) (PluginResult, bool) {
	i := slices.IndexFunc(r.Plugins, func(p PluginResult) bool { return p.Name == plugin })
	if i < 0 || r.Plugins[i].Error != "" {
		return PluginResult{}, false
	}
	return r.Plugins[i], true
}

// errEnough ends a table that is too long.
var errEnough = errors.New("enough")

// table reads the rows of a plugin that has a result, until each has taken more than maxCompared of them: then the table
// is on record as too long to compare with.
func (r *Report) table(folder, plugin string, each func(row) (taken bool)) (ok bool) {
	p, ok := r.result(plugin)
	if !ok {
		return false
	}
	n := 0
	err := eachRow(filepath.Join(folder, p.File), func(x row) error {
		if each(x) {
			n++
		}
		if n > maxCompared {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		if r.long == nil {
			r.long = map[string]bool{}
		}
		r.long[plugin] = true
		return true
	}
	return err == nil
}

// read makes the report's lists of the plugins' output, compares them while they are whole, and cuts them.
func (r *Report) read(o Options) {
	by := map[int]int{}
	listed := r.table(o.Folder, PsList, func(x row) bool {
		p := x.process()
		if _, twice := by[p.PID]; twice || p.PID < 0 {
			return false
		}
		by[p.PID] = len(r.Processes)
		r.Processes = append(r.Processes, p)
		return true
	})
	r.table(o.Folder, PsAux, func(x row) bool {
		if i, ok := by[int(x.PID.number())]; ok {
			r.Processes[i].Args = cutText(string(x.Args), maxText)
		}
		return false
	})
	r.table(o.Folder, PsScan, func(x row) bool {
		pid := int(x.PID.number())
		if _, ok := by[pid]; ok || pid < 0 || x.TID != x.PID {
			return false
		}
		r.Processes = append(r.Processes, Process{PID: pid, Parent: int(x.Parent.number()), Name: x.Name.short(), Scanned: true, State: x.Exit.short()})
		return true
	})
	slices.SortStableFunc(r.Processes, func(a, b Process) int { return cmp.Compare(a.PID, b.PID) })
	modules := r.table(o.Folder, Lsmod, func(x row) bool {
		r.Modules = append(r.Modules, Module{cmp.Or(x.Module, x.ModName).short(), cmp.Or(x.Size, x.CodeSize).number()})
		return true
	})
	sockets := r.table(o.Folder, Sockstat, func(x row) bool {
		if x.Family == "AF_UNIX" {
			s, ok := x.unix()
			if ok {
				r.Sockets = append(r.Sockets, s)
			}
			return ok
		}
		if x.Family != "AF_INET" && x.Family != "AF_INET6" {
			return false
		}
		r.Sockets = append(r.Sockets, Socket{
			PID: int(x.PID.number()), Name: cmp.Or(x.Owner, x.Process).short(), Proto: strings.ToLower(x.Proto.short()),
			Local: endpoint(x.Local, x.LPort), Remote: endpoint(x.Remote, x.RPort), State: x.State.short(), NetNS: x.NetNS.number(),
		})
		return true
	})
	r.table(o.Folder, Bash, func(x row) bool {
		r.History = append(r.History, Command{int(x.PID.number()), x.Process.short(), x.Time.time(), cutText(string(x.Command), maxText)})
		return true
	})
	r.compare(o.Host, listed, modules, sockets)
}

// endpoint joins an address and a port as netip does.
func endpoint(addr, port word) string {
	if addr == "" && port == "" {
		return ""
	}
	addr, port = word(addr.short()), word(port.short())
	if strings.Contains(string(addr), ":") {
		return "[" + string(addr) + "]:" + string(port)
	}
	return string(addr) + ":" + string(port)
}
