package acquire

import (
	"flag"
	"os"
	"testing"
)

// becomeTarget does not return where the test binary is to be a target's shell.
var becomeTarget = func() {}

// TestMain lets more tests run at once than there are processors: those that run in parallel
// mostly wait.
func TestMain(m *testing.M) {
	becomeTarget()
	flag.Parse()
	given := flag.Lookup("test.fuzz").Value.String() != "" // there it is the number of workers
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", "8")
	}
	os.Exit(m.Run())
}
