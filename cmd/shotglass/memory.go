package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// fallbackBudget is for machines whose memory is not known.
const fallbackBudget = 1 << 30

// memoryBudget is what captures may take where nobody said it: a quarter of what this
// machine, or this container, has, since the page cache of the disk wants the rest.
func memoryBudget() int64 {
	if n := machineMemory(); n > 0 {
		return n / 4
	}
	return fallbackBudget
}

// parseSize reads a number of bytes: 1073741824, 512MiB, 1.5G.
func parseSize(s string) (int64, error) {
	text := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), "b"), "i")
	unit := 1.0
	if text != "" {
		if i := strings.IndexByte("kmgt", text[len(text)-1]); i >= 0 {
			unit, text = math.Pow(1024, float64(i+1)), text[:len(text)-1]
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(n > 0) || n*unit < 1 || n*unit > 1<<62 {
		return 0, fmt.Errorf("%q is not a size such as 512MiB or 2GiB", s)
	}
	return int64(n * unit), nil
}
