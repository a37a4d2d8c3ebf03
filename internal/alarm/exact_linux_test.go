package alarm

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Without it New would be coarse, and no other test would tell.
func TestTheKernelHasATimer(t *testing.T) {
	a := exact(func() {})
	require.NotNil(t, a)
	a.Close()
}
