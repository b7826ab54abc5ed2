package main

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// machineMemory is the memory of this machine, or the limit of our control group; 0
// when not known.
func machineMemory() int64 {
	var n int64
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		n = int64(uint64(s.Totalram) * uint64(s.Unit))
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && limit > 0 && (n == 0 || limit < n) {
			n = limit
		}
	}
	return n
}
