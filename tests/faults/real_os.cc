// src/io/os.cc with its namespace renamed.
#define os real_os
#include "src/io/os.cc"
