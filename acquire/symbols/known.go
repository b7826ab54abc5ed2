package symbols

// bannerSymbol is the symbol that Volatility finds a symbol file by.
const bannerSymbol = "linux_banner"

// A known is a variable of the kernel that Volatility reads as an object, or whose address it needs. typ says of which type it
// is: alternatives, first come first taken, since kernels differ. Only the name of a type stands here; what it
// consists of comes from the kernel. An empty type means that the address is enough.
//
//	*T         pointer to T
//	[N]T, []T  array; without a number it ends where the next symbol begins
//	struct T, union T, T (a base type, or a struct that only a typedef names)
//	{F struct T}  a struct without a name that has a field F of that type
type known struct {
	symbol  string
	typ     []string
	plugins []string // that do less without it, or nothing
}

var every = []string{"all"}

// knowns were found by reading the plugins of Volatility 3 2.11.0 and 2.28.0.
var knowns = []known{
	// What the layers and most plugins stand on.
	{"init_task", []string{"struct task_struct"}, nil},
	{"init_files", []string{"struct files_struct"}, every},
	{"init_mm", []string{"struct mm_struct"}, nil},
	{"swapper_pg_dir", nil, nil},
	{"init_top_pgt", []string{"[512]pgd_t"}, nil},
	{"init_level4_pgt", []string{"[512]pgd_t"}, nil},
	{"init_pid_ns", []string{"struct pid_namespace"}, []string{"linux.pidhashtable"}},
	{"init_nsproxy", []string{"struct nsproxy"}, nil},
	{"init_uts_ns", []string{"struct uts_namespace"}, nil},
	{"init_user_ns", []string{"struct user_namespace"}, nil},
	{"init_cred", []string{"struct cred"}, nil},
	{"init_fs", []string{"struct fs_struct"}, nil},
	{"init_net", []string{"struct net"}, nil},
	{"_text", []string{"[0]char"}, nil},
	{"_etext", []string{"[0]char"}, nil},
	{"page_offset_base", []string{"long unsigned int"}, nil},
	{"vmalloc_base", []string{"long unsigned int"}, nil},
	{"vmemmap_base", []string{"long unsigned int"}, nil},
	{"phys_base", []string{"long unsigned int"}, nil},
	{"mem_map", []string{"*struct page"}, nil},
	{"mem_section", []string{"**struct mem_section"}, nil},
	{"node_data", []string{"[]*pg_data_t", "[]*struct pglist_data"}, nil},
	{"height_to_maxindex", []string{"[]long unsigned int"}, nil},
	{"height_to_maxnodes", []string{"[]long unsigned int"}, nil},

	// Modules.
	{"modules", []string{"struct list_head"}, []string{"linux.lsmod", "linux.check_syscall (names of modules)"}},
	{"module_kset", []string{"*struct kset"}, []string{"linux.check_modules"}},
	{"mod_tree", []string{"struct mod_tree_root"}, nil},
	{"module_addr_min", []string{"long unsigned int"}, nil},
	{"module_addr_max", []string{"long unsigned int"}, nil},
	{"taint_flags", []string{"[]struct taint_flag"}, nil},
	{"bpf_kallsyms", []string{"struct list_head"}, nil},
	{"ftrace_mod_maps", []string{"struct list_head"}, nil},
	{"ftrace_ops_trampoline_list", []string{"struct list_head"}, nil},
	{"kallsyms_num_syms", []string{"unsigned int"}, []string{"linux.kallsyms"}},
	{"kallsyms_offsets", []string{"[]int"}, nil},
	{"kallsyms_relative_base", []string{"long unsigned int"}, nil},
	{"kallsyms_names", []string{"[]unsigned char", "[]u8"}, nil},
	{"kallsyms_token_table", []string{"[]char"}, nil},
	{"kallsyms_token_index", []string{"[]short unsigned int"}, nil},
	{"kallsyms_markers", []string{"[]unsigned int"}, nil},

	// Hooks.
	{"sys_call_table", []string{"[]*func"}, []string{"linux.check_syscall"}},
	{"ia32_sys_call_table", []string{"[]*func"}, nil},
	{"idt_table", []string{"[256]gate_desc", "[256]struct gate_struct64", "[256]struct desc_struct"}, []string{"linux.check_idt"}},
	{"tty_drivers", []string{"struct list_head"}, []string{"linux.tty_check"}},
	{"keyboard_notifier_list", []string{"struct atomic_notifier_head"}, []string{"linux.keyboard_notifiers"}},
	{"nf_hooks", []string{"[13][8]struct list_head"}, nil},
	{"ftrace_ops_list", []string{"*struct ftrace_ops"}, []string{"linux.tracing.ftrace"}},
	{"ftrace_list_end", []string{"struct ftrace_ops"}, nil},
	{"__start___tracepoints_ptrs", []string{"[]int"}, nil},
	{"__stop___tracepoints_ptrs", []string{"[0]int"}, nil},
	{"prog_idr", []string{"struct idr"}, []string{"linux.ebpf"}},
	{"map_idr", []string{"struct idr"}, nil},
	{"link_idr", []string{"struct idr"}, nil},

	// Network, files, devices, log, time.
	{"net_namespace_list", []string{"struct list_head"}, []string{"linux.netfilter", "linux.ip", "linux.check_afinfo"}},
	{"socket_file_ops", []string{"struct file_operations"}, []string{"linux.sockstat"}},
	{"sockfs_dentry_operations", []string{"struct dentry_operations"}, []string{"linux.sockstat"}},
	{"tcp4_seq_afinfo", []string{"struct tcp_seq_afinfo"}, nil},
	{"tcp6_seq_afinfo", []string{"struct tcp_seq_afinfo"}, nil},
	{"udp_seq_afinfo", []string{"struct udp_seq_afinfo"}, nil},
	{"udp4_seq_afinfo", []string{"struct udp_seq_afinfo"}, nil},
	{"udp6_seq_afinfo", []string{"struct udp_seq_afinfo"}, nil},
	{"udplite4_seq_afinfo", []string{"struct udp_seq_afinfo"}, nil},
	{"udplite6_seq_afinfo", []string{"struct udp_seq_afinfo"}, nil},
	{"super_blocks", []string{"struct list_head"}, nil},
	{"file_systems", []string{"*struct file_system_type"}, nil},
	{"mount_hashtable", []string{"*struct hlist_head"}, nil},
	{"inode_hashtable", []string{"*struct hlist_head"}, nil},
	{"dentry_hashtable", []string{"*struct hlist_bl_head"}, nil},
	{"chrdevs", []string{"[255]*struct char_device_struct"}, nil},
	{"iomem_resource", []string{"struct resource"}, []string{"linux.iomem"}},
	{"ioport_resource", []string{"struct resource"}, nil},
	{"pid_hash", []string{"*struct hlist_head"}, nil},
	{"pidhash_shift", []string{"unsigned int"}, nil},
	{"cap_last_cap", []string{"int"}, []string{"linux.capabilities"}},
	{"prb", []string{"*struct printk_ringbuffer"}, nil},
	{"log_buf", []string{"*char"}, nil},
	{"log_buf_len", []string{"unsigned int", "int"}, nil},
	{"log_end", []string{"unsigned int"}, nil},
	{"log_first_idx", []string{"unsigned int"}, nil},
	{"log_next_idx", []string{"unsigned int"}, nil},
	{"tk_core", []string{"{timekeeper struct timekeeper}"}, nil},
	{"timekeeper", []string{"struct timekeeper"}, nil},
	{"wall_to_monotonic", []string{"struct timespec64", "struct timespec"}, nil},
	{"total_sleep_time", []string{"struct timespec64", "struct timespec"}, nil},
	{"registered_fb", []string{"[32]*struct fb_info"}, nil},
	{"num_registered_fb", []string{"int"}, nil},
	{"vmap_area_list", []string{"struct list_head"}, nil},
	{"slab_caches", []string{"struct list_head"}, nil},
	{"crashing_cpu", []string{"int"}, nil},
	{"nr_cpu_ids", []string{"unsigned int"}, nil},
	{"__per_cpu_offset", []string{"[]long unsigned int"}, nil},
	{"__cpu_online_mask", []string{"struct cpumask"}, nil},
	{"__cpu_possible_mask", []string{"struct cpumask"}, nil},
	{"saved_command_line", []string{"*char"}, nil},
	{"jiffies_64", []string{"long long unsigned int", "long unsigned int"}, nil},
}

// An either is a choice of symbols of which one has to be there.
type either struct {
	symbols []string
	plugins []string
}

var eithers = []either{
	{[]string{"init_top_pgt", "init_level4_pgt", "swapper_pg_dir"}, every},
	{[]string{"mod_tree", "module_addr_min"}, []string{"linux.hidden_modules"}},
	{[]string{"prb", "log_buf"}, []string{"linux.kmsg"}},
	{[]string{"tk_core", "timekeeper", "wall_to_monotonic"}, []string{"linux.boottime"}},
	{[]string{"vmemmap_base", "mem_map", "node_data"}, []string{"linux.pagecache.InodePages"}},
}

// needed are types that plugins cannot do without, or not wholly. Those that a distribution has in modules
// are in the BTF of the modules.
var needed = []struct {
	name    string
	plugins []string
}{
	{"task_struct", every}, {"mm_struct", every}, {"files_struct", every}, {"list_head", every},
	{"vm_area_struct", []string{"linux.proc.Maps", "linux.bash", "linux.elfs"}},
	{"module", []string{"linux.lsmod", "linux.check_modules", "linux.hidden_modules"}},
	{"module_kobject", []string{"linux.check_modules"}},
	{"fdtable", []string{"linux.lsof", "linux.sockstat"}}, {"dentry", []string{"linux.lsof", "linux.mountinfo"}},
	{"mount", []string{"linux.mountinfo", "linux.lsof"}}, {"mnt_namespace", []string{"linux.mountinfo"}},
	{"sock", []string{"linux.sockstat"}}, {"socket_alloc", []string{"linux.sockstat"}}, {"inet_sock", []string{"linux.sockstat"}},
	{"unix_sock", []string{"linux.sockstat (unix sockets)"}}, {"netlink_sock", []string{"linux.sockstat (netlink)"}},
	{"packet_sock", []string{"linux.sockstat (packet sockets)"}}, {"vsock_sock", []string{"linux.sockstat (vsock)"}},
	{"bt_sock", []string{"linux.sockstat (Bluetooth)"}}, {"xdp_sock", []string{"linux.sockstat (XDP)"}},
	{"bpf_prog", []string{"linux.ebpf"}}, {"nf_hook_entries", []string{"linux.netfilter"}},
	{"tty_struct", []string{"linux.tty_check"}}, {"tty_driver", []string{"linux.tty_check"}},
}
