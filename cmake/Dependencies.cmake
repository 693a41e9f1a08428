# Every third-party dependency, as one target each.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)

# MPI, which a run over many machines needs. Its C interface.
if(COLDPRESS_MPI STREQUAL AUTO)
  find_package(MPI QUIET COMPONENTS C)
elseif(COLDPRESS_MPI)
  find_package(MPI REQUIRED COMPONENTS C)
endif()

# toml++, headers alone.
find_path(COLDPRESS_TOML toml++/toml.h REQUIRED)
add_library(coldpress_toml INTERFACE)
target_include_directories(coldpress_toml SYSTEM INTERFACE ${COLDPRESS_TOML})
target_compile_definitions(coldpress_toml INTERFACE TOML_EXCEPTIONS=0 TOML_HEADER_ONLY=1)
add_library(coldpress::toml ALIAS coldpress_toml)

# CBLAS + LAPACKE (OpenBLAS).
pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
find_library(COLDPRESS_LAPACKE lapacke REQUIRED)
add_library(coldpress_blas INTERFACE)
target_link_libraries(coldpress_blas INTERFACE ${COLDPRESS_LAPACKE} PkgConfig::OPENBLAS)
add_library(coldpress::blas ALIAS coldpress_blas)

# ggml, libllama and its chat-template engine, built once by scripts/build-llama and cached outside the clone.
set(coldpress_llama_prefix "${COLDPRESS_LLAMA_CPP_DIR}")
if(NOT coldpress_llama_prefix)
  execute_process(
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/scripts/build-llama
    OUTPUT_VARIABLE coldpress_llama_prefix OUTPUT_STRIP_TRAILING_WHITESPACE
    COMMAND_ERROR_IS_FATAL ANY)
endif()
set(COLDPRESS_LLAMA_PREFIX "${coldpress_llama_prefix}")
# Imported one by one, each with what it needs, so that CMake puts them in link order.
function(coldpress_import name)
  add_library(${name} STATIC IMPORTED GLOBAL)
  set_target_properties(${name} PROPERTIES
    IMPORTED_LOCATION ${coldpress_llama_prefix}/lib/lib${name}.a
    INTERFACE_LINK_LIBRARIES "${ARGN}")
  target_include_directories(${name} SYSTEM INTERFACE ${coldpress_llama_prefix}/include)
endfunction()
coldpress_import(ggml-base Threads::Threads ${CMAKE_DL_LIBS} m)
coldpress_import(ggml-cpu ggml-base)
coldpress_import(ggml-blas ggml-base coldpress::blas)
coldpress_import(ggml ggml-cpu ggml-blas ggml-base)
coldpress_import(llama ggml)
coldpress_import(llama-jinja ggml-base)
add_library(coldpress::ggml ALIAS ggml)
add_library(coldpress::llama ALIAS llama)
add_library(coldpress::jinja ALIAS llama-jinja)
