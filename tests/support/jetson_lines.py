"""Lines of `tegrastats` from real boards, as users published them, and who published them."""

AGX_ORIN_7_2 = (
    "07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201,10%@2201,4%@2201,14%@2201,"
    "30%@2201,18%@2201,10%@2201,10%@2201,33%@2201,7%@2201,5%@2201,27%@2201] EMC_FREQ 3%@3199 "
    "GR3D_FREQ 12%@[1300,1300] NVENC0 off NVDEC0 off NVJPG0 off NVJPG1 off VIC off OFA off "
    "NVDLA0 off NVDLA1 off PVA0_FREQ off APE 174 cpu@52.968C/52.968C soc2@48.406C/48.406C "
    "soc0@49.531C/49.531C gpu@47.625C/47.625C VDD_GPU_SOC 5139mW/5139mW/5139mW "
    "VDD_CPU_CV 3268mW/3268mW/3268mW VIN_SYS_5V0 5500mW/5500mW/5500mW"
)
"""rbonghi/jetson_stats, pull request 894."""

AGX_ORIN_6_2_1 = (
    "05-09-2026 18:42:06 RAM 18207/62841MB (lfb 466x4MB) SWAP 86/31420MB (cached 0MB) CPU "
    "[14%@2188,5%@2188,0%@729,off] EMC_FREQ 3%@2133 GR3D_FREQ 0%@[0,0] NVENC 79%@166 NVDEC off "
    "VIC 36%@115 OFA off NVDLA0 off NVDLA1 off PVA0_FREQ off APE 174 cpu@52.562C soc2@48.437C "
    "VDD_GPU_SOC 2412mW/2412mW VDD_CPU_CV 1607mW/1607mW VIN_SYS_5V0 4707mW/4707mW"
)
"""A public parser's own fixture (L4T 36.4.4); the list of cores is shortened."""

ORIN_NX_6 = (
    "05-15-2025 18:30:28 RAM 6982/7620MB (lfb 5x1MB) SWAP 2640/16384MB (cached 202MB) CPU "
    "[97%@1984,93%@247] EMC_FREQ 18%@3199 GR3D_FREQ 84%@[713] NVENC 1%@115 NVDEC 40%@115 "
    "cv0@63.031C cpu@65.562C gpu@63.5C tj@65.562C VDD_IN 17946mW/15710mW "
    "VDD_CPU_GPU_CV 8896mW/7585mW VDD_SOC 3923mW/3515mW"
)
"""rbonghi/jetson_stats, issue 624; shortened."""

ORIN_NANO = (
    "RAM 1343/7620MB (lfb 157x4MB) SWAP 165/3810MB (cached 3MB) CPU [0%@1497,0%@1497,1%@1497,"
    "0%@1497,2%@1497,0%@1497] EMC_FREQ 15%@204 GR3D_FREQ 0%@[305] NVDEC off NVJPG off VIC off "
    "OFA off APE 200 cpu@48.562C soc2@47.25C tj@49.312C VDD_IN 5251mW/8535mW "
    "VDD_CPU_GPU_CV 512mW/1944mW VDD_SOC 2720mW/3659mW"
)

XAVIER_NX_5_1_2 = (
    "07-09-2024 13:31:31 RAM 3168/6851MB (lfb 2x4MB) SWAP 161/3426MB (cached 0MB) CPU "
    "[23%@1397,off,off,12%@1398] EMC_FREQ 2%@204 GR3D_FREQ 0%@[114] VIC_FREQ 115 APE 150 AUX@45C "
    "CPU@46.5C thermal@45.6C AO@45C GPU@45.5C PMIC@50C VDD_IN 2763mW/2846mW "
    "VDD_CPU_GPU_CV 650mW/670mW VDD_SOC 650mW/711mW"
)

THOR_7_0 = (
    "05-17-2026 10:00:32 RAM 4208/125773MB (lfb 31x4MB) SWAP 0/2048MB (cached 0MB) CPU "
    "[1%@972,0%@972] EMC_FREQ 0%@665 GR3D_FREQ @[0,0,0] NVENC0_FREQ @0 NVDEC0_FREQ @0 VIC off "
    "OFA_FREQ @0 PVA0_FREQ off APE 300 cpu@34.468C tj@34.5C soc012@33.781C soc345@34.5C "
    "VDD_GPU 0mW/0mW VDD_CPU_SOC_MSS 4165mW/4165mW VIN_SYS_5V0 4126mW/4126mW"
)
"""L4T 38.4, a public parser's own fixture; shortened."""

THOR_SHORT = (
    "RAM 4722/7844MB (lfb 1x512kB) EMC_FREQ 2%@1866 GR3D_FREQ @[1000,1000,1000] APE 150 "
    "VDD_GPU -392mW VIN 28548mW"
)
"""rbonghi/jetson_stats, `test_06_tegra_parse.py`; a rail with one value, and one below zero, as
Thor's calibration gives, were seen elsewhere."""

AGX_ORIN_5 = (
    "03-08-2024 07:49:04 RAM 1438/30622MB (lfb 6704x4MB) SWAP 0/15311MB (cached 0MB) CPU "
    "[2%@729,0%@729] EMC_FREQ 0% GR3D_FREQ 0%@114 GR3D2_FREQ 0%@114 NVJPG1 729 CV0@-256C "
    "CPU@44.437C Tboard@36C GPU@-256C tj@44.437C VDD_GPU_SOC 4788mW/4788mW NC 0mW/0mW "
    "VDDQ_VDD2_1V8AO 707mW/707mW NC 0mW/0mW"
)
"""Two published lines joined: sensors without power, and rails called NC, twice."""

TX2 = (
    "RAM 707/7854MB (lfb 1659x4MB) CPU [0%@2035,off,off,0%@2034] EMC_FREQ 2%@1866 "
    "GR3D_FREQ 31%@1300 APE 150 MTS fg 0% bg 1% BCPU@30C MCPU@30C GPU@28.5C PLL@30C PMIC@100C "
    "VDD_IN 1038/1134 VDD_CPU 153/153"
)
"""rbonghi/jetson_stats, `tests/tegrastats`: no date, no units."""

NANO = (
    "RAM 1180/3965MB (lfb 1x2MB) SWAP 149/1024MB (cached 7MB) IRAM 0/252kB(lfb 252kB) CPU "
    "[30%@1036,33%@1036,28%@1036,26%@1036] EMC_FREQ 10%@1600 GR3D_FREQ 0%@76 APE 25 PLL@57C "
    "CPU@60.5C POM_5V_IN 4520/4680 POM_5V_GPU 0/0 POM_5V_CPU 1078/1205"
)

LINES = {
    name: line
    for name, line in globals().items()
    if name.isupper() and isinstance(line, str) and name != "LINES"
}
