# SPDX-License-Identifier: Apache-2.0
# Include after find_package(rosidl_default_generators), before rosidl_generate_interfaces(): where no C++ node can use the
# interfaces (ROS 2 from PyPI has no rclcpp), generate them for C and Python alone and compile the sources in few units.
# That takes a third of the time.
find_package(ament_cmake_core REQUIRED)
ament_index_has_resource(lean_interfaces_rclcpp packages rclcpp)
if(NOT lean_interfaces_rclcpp)
  list(FILTER AMENT_EXTENSIONS_rosidl_generate_idl_interfaces EXCLUDE REGEX "_cpp:")
  set(CMAKE_UNITY_BUILD ON)

  # Static names repeat in the sources that describe the types.
  function(lean_interfaces_part_descriptions)
    get_target_property(sources ${PROJECT_NAME}__rosidl_generator_c SOURCES)
    list(FILTER sources INCLUDE REGEX "__description\\.c$")
    set_source_files_properties(${sources} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  endfunction()
  cmake_language(DEFER CALL lean_interfaces_part_descriptions)
endif()
