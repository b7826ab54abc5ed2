package acquire

import (
	"slices"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// TestKernelImage: where the kernel's constants are, by what kernels say.
func TestKernelImage(t *testing.T) {
	f, err := parseFacts([]byte(debian12(t)), testNonce)
	if err != nil {
		t.Fatal(err)
	}
	if want := []lime.Range{{Start: 0x9400000, End: 0x9c26fff}}; !slices.Equal(f.KernelImage, want) || f.BannerAddress < want[0].Start || f.BannerAddress > want[0].End {
		t.Errorf("%v with linux_banner at %#x, want %v", f.KernelImage, f.BannerAddress, want)
	}
	code := "40000000-7fffffff : System RAM\n  40210000-413fffff : Kernel code\n"
	data := "  41800000-419fffff : Kernel data\n"
	for _, tt := range []struct {
		machine, iomem string
		want           []lime.Range
	}{
		{"aarch64", code + data, []lime.Range{{Start: 0x40210000, End: 0x413fffff}}},
		{"x86_64", code + data, []lime.Range{{Start: 0x41800000, End: 0x419fffff}}}, // as kernels before "Kernel rodata"
		{"x86_64", code, nil},
		{"x86_64", data, nil},
		{"s390x", code + data, nil},
		{"aarch64", "00000000-00000000 : Kernel code\n", nil},
		{"aarch64", "2-1 : Kernel code\nx : Kernel code\n : Kernel code\nKernel code\n", nil},
	} {
		if got := kernelImage(tt.machine, tt.iomem); !slices.Equal(got, tt.want) {
			t.Errorf("%s %q: %v, want %v", tt.machine, tt.iomem, got, tt.want)
		}
	}
}

// TestBannerPlace: where kallsyms does not tell the banner's place, a copy elsewhere does not do.
func TestBannerPlace(t *testing.T) {
	image := []lime.Range{{Start: 0x1000, End: 0x1fff}, {Start: 0x8000, End: 0x8fff}}
	for _, tt := range []struct {
		symbol uint64
		image  []lime.Range
		at     []lime.Addr
		want   string
	}{
		{0, image, []lime.Addr{0x500, 0x8fff}, Pass},
		{0, image, []lime.Addr{0x500, 0x2000, 0x9000}, Fail},
		{0, image, nil, Fail},
		{0, nil, []lime.Addr{0x500}, Pass},
		{0x500, image, []lime.Addr{0x500}, Pass}, // kallsyms knows better
		{0x500, image, []lime.Addr{0x1000}, Fail},
	} {
		j := judgement{facts: &Facts{Version: "Linux version 1\n", BannerAddress: tt.symbol, KernelImage: tt.image},
			rep: &lime.Report{Found: []lime.Found{{Name: needleBanner, Addrs: tt.at}}}}
		if c := j.banner(); c.Result != tt.want {
			t.Errorf("%+v: %+v", tt, c)
		}
	}
	for _, tt := range []struct {
		f  Facts
		in []lime.Range
	}{{Facts{Version: "v\n", KernelImage: image}, image}, {Facts{Version: "v\n"}, nil}, {Facts{Version: "v\n", KernelImage: image, BannerAddress: 1}, []lime.Range{{Start: 1, End: 1}}}} {
		if n := needles(&tt.f); len(n) != 1 || !slices.Equal(n[0].In, tt.in) {
			t.Errorf("%+v", n)
		}
	}
}

// TestBannerCopies: copies of the banner in the pages of some process, below the kernel, change nothing.
func TestBannerCopies(t *testing.T) {
	text := "Linux version 1\n"
	memory := make([]byte, 0x40000)
	for i := range 600 {
		copy(memory[i*0x80:], text+"\x00")
	}
	copy(memory[0x30000:], text+"\x00")
	for name, f := range map[string]*Facts{
		"kallsyms":    {Version: text, BannerAddress: 0x30000},
		"/proc/iomem": {Version: text, KernelImage: []lime.Range{{Start: 0x2f000, End: 0x30fff}}},
	} {
		for _, there := range []bool{true, false} {
			if !there {
				f.BannerAddress, f.KernelImage = f.BannerAddress|8, slices.Clone(f.KernelImage)
				for i := range f.KernelImage {
					f.KernelImage[i].Start += 0x5000
					f.KernelImage[i].End += 0x5000
				}
				if f.BannerAddress == 8 {
					f.BannerAddress = 0
				}
			}
			w := lime.NewWalker(lime.WalkerOptions{Needles: needles(f)})
			w.Write(lime.AppendHeader(nil, lime.Range{Start: 0, End: uint64(len(memory)) - 1}))
			w.Write(memory)
			rep, err := w.Finish()
			if err != nil {
				t.Fatal(err)
			}
			want := Pass
			if !there {
				want = Fail
			}
			j := judgement{facts: f, rep: rep}
			if c := j.banner(); c.Result != want || len(rep.Found[0].Addrs) > 20 {
				t.Errorf("%s, there %t: %+v", name, there, c)
			}
		}
	}
}
