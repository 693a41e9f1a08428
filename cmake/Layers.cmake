# coldpress_options: the compiler settings of our own code.
add_library(coldpress_options INTERFACE)
target_include_directories(coldpress_options INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/src)
# No fast-math. These three only let rounding and min/max become single instructions.
target_compile_options(coldpress_options INTERFACE -Wall -Wextra -Wshadow -Wno-psabi -fopenmp-simd -fno-math-errno -fno-trapping-math)
if(COLDPRESS_NATIVE)
  target_compile_options(coldpress_options INTERFACE -march=native)
endif()
if(COLDPRESS_SANITIZE)
  target_compile_options(coldpress_options INTERFACE
    -fsanitize=${COLDPRESS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(coldpress_options INTERFACE -fsanitize=${COLDPRESS_SANITIZE})
endif()
if(COLDPRESS_FUZZ)
  target_compile_options(coldpress_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# coldpress_layer(NAME [TABLE FOLDER TYPE [FOLDER TYPE]...] [LINK libs...])
#
# Builds src/NAME/**.cc as library coldpress_NAME, linked to every layer declared before it. With
# TABLE, every file FOLDER/x.cc must define `extern const TYPE kTYPE_x;` and the generated
# NAME_table.cc defines `std::span<const TYPE* const> NAME_table()` (declared in NAME/table.h by the
# layer). Further tables are called FOLDER_table and declared in NAME/FOLDER_form.h. Adding an entry
# is adding a file.
set(COLDPRESS_LAYERS "" CACHE INTERNAL "")
function(coldpress_layer name)
  cmake_parse_arguments(ARG "" "" "TABLE;LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/${name}/*.cc)
  set(table ${name})
  set(header ${name}/table.h)
  while(ARG_TABLE)
    list(POP_FRONT ARG_TABLE folder type)
    file(GLOB entries CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/${name}/${folder}/*.cc)
    list(SORT entries)
    if(table STREQUAL "")  # not the first
      set(table ${folder})
      set(header ${name}/${folder}_form.h)
    endif()
    set(externs "")
    set(rows "")
    foreach(entry IN LISTS entries)
      get_filename_component(stem ${entry} NAME_WE)
      string(APPEND externs "extern const ${type} k${type}_${stem};\n")
      string(APPEND rows "    &k${type}_${stem},\n")
    endforeach()
    if(entries)
      set(generated ${CMAKE_CURRENT_BINARY_DIR}/generated/${table}_table.cc)
      file(CONFIGURE OUTPUT ${generated} CONTENT
"// Generated from src/${name}/${folder}/ by cmake/Layers.cmake.
#include \"${header}\"

namespace coldpress {

${externs}
std::span<const ${type}* const> ${table}_table() {
  static const ${type}* const rows[] = {
${rows}  };
  return rows;
}

}  // namespace coldpress
")
      list(APPEND sources ${generated})
    endif()
    set(table "")
  endwhile()
  if(sources)
    add_library(coldpress_${name} STATIC ${sources})
    target_link_libraries(coldpress_${name} PUBLIC coldpress_options fmt::fmt ${COLDPRESS_LAYERS}
      ${ARG_LINK})
    set(COLDPRESS_LAYERS "coldpress_${name};${COLDPRESS_LAYERS}" CACHE INTERNAL "")
  endif()
endfunction()
