package sink_test

import "testing"

func readOnly(t *testing.T, _ string) { t.Skip("modes do not bind root") }
